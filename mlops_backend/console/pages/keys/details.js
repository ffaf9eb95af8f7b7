// One key: how it is, what is left of it, and what can be done with it.

import { confirm } from "../../components/confirm-dialog.js";
import { copyButton } from "../../components/copy-button.js";
import { failure, loading } from "../../components/empty-state.js";
import { pageHeader } from "../../components/page-header.js";
import { toast } from "../../components/toast-list.js";
import { h, replace } from "../../lib/element.js";
import { timeNode } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { hash } from "../../lib/router.js";
import { part } from "../keys.js";
import { askForChanges } from "./form.js";
import { leftCard } from "./left.js";
import { askForOverlap } from "./rotate.js";
import { showSecret } from "./secret.js";
import { snippets } from "./snippets.js";
import { changeKey, endSessions, exampleModel, getKey, getLeft, revokeKey, rotateKey } from "./store.js";
import { limitsLine, modelNames, stateBadge } from "./words.js";

/** The part of the page that shows a key. */
export async function keyDetails(id) {
  if (!id.startsWith("key_")) return { node: ofSettings(id), follow: () => undefined };
  const node = part(loading());
  const view = new KeyView(id, node);
  await view.load();
  return { node, follow: () => undefined };
}

class KeyView {
  constructor(id, node) {
    this.id = id;
    this.node = node;
  }

  async load() {
    try {
      this.#show(await getKey(this.id));
    } catch (error) {
      replace(this.node, back(), pageHeader("Key"), failure(error, { title: "This key cannot be shown", again: () => this.load() }));
    }
  }

  #show(key) {
    this.key = key;
    this.left = leftCard(() => getLeft(this.id));
    const isOver = key.state === "revoked";
    const examples = h("section", { class: "card" }, h("h2", null, "Use it with"), loading());
    replace(
      this.node,
      back(),
      pageHeader(key.name, { description: h("span", { class: "row" }, stateBadge(key.state), h("code", null, key.id), copyButton(key.id, { label: "Copy id", compact: true })), actions: isOver ? [] : this.#actions(key) }),
      isOver && h("p", { class: "note danger" }, icon("alert"), h("span", null, "This key was revoked, for good. It stays to be looked at, for the ledger names it.")),
      h("div", { class: "grid" }, facts(key), this.left.node),
      !isOver && examples,
      this.#links(key),
    );
    const words = h("p", { class: "muted small" }, "The secret itself was shown when it was made: put it in place of ", h("code", null, "your-key"), ".");
    if (!isOver) exampleModel(key.models).then((model) => examples.lastElementChild.replaceWith(h("div", { class: "stack" }, words, snippets({ model }))));
  }

  #actions(key) {
    const button = (text, name, run, kind = "") => h("button", { type: "button", class: `button ${kind}`, onclick: run }, icon(name), text);
    return [
      button("Change", "pencil", () => this.#change()),
      button(key.enabled ? "Disable" : "Enable", key.enabled ? "pause" : "play", () => this.#enable(!key.enabled)),
      button("Rotate…", "refresh", () => this.#rotate()),
      button("End sessions…", "logout", () => this.#end()),
      button("Revoke…", "trash", () => this.#revoke(), "danger-quiet"),
    ];
  }

  #links({ id }) {
    return h("p", { class: "small" }, h("a", { href: hash("/usage", { key: id }) }, "Its usage"));
  }

  async #change() {
    const changed = await askForChanges(this.key);
    if (!changed) return;
    this.#again(changed, "Changed. Every worker takes it over within a second.");
  }

  async #enable(enabled) {
    if (!enabled && !(await confirm({ title: "Disable this key?", text: "Its requests are refused until it is enabled again, and its browsers are signed out. What is running goes on to its end.", action: "Disable" }))) return;
    await this.#try(async () => this.#again(await changeKey(this.id, { enabled }), enabled ? "Enabled." : "Disabled."));
  }

  async #rotate() {
    const seconds = await askForOverlap(this.key.name);
    if (seconds === null) return;
    await this.#try(async () => {
      const made = await rotateKey(this.id, seconds);
      await showSecret(made, { title: "The new secret" });
      const { key: _, ...key } = made;
      this.#again(key, seconds ? "Rotated. The old secret works for a while." : "Rotated. The old secret has ended.");
    });
  }

  async #end() {
    if (!(await confirm({ title: "End its sessions?", text: "Every browser that is signed in with this key is signed out. The key goes on working: disable, rotate or revoke it to end both.", action: "End sessions" }))) return;
    await this.#try(async () => {
      await endSessions(this.id);
      toast("All sessions of this key have ended.", { kind: "success" });
    });
  }

  async #revoke() {
    const text = "It is refused from now on, for good, and cannot be brought back. Its conversations and its usage stay.";
    if (!(await confirm({ title: "Revoke this key?", text, action: "Revoke", danger: true, word: this.key.name }))) return;
    await this.#try(async () => this.#again(await revokeKey(this.id), "Revoked."));
  }

  async #try(deed) {
    try {
      await deed();
    } catch (error) {
      toast(error.message, { kind: "danger" });
    }
  }

  // The buttons are new: a reader who used one by keyboard goes on at the heading.
  #again(key, words) {
    this.#show(key);
    this.node.querySelector("h1").focus({ preventScroll: true });
    toast(words, { kind: "success" });
  }
}

// The settings alone change it; what is left of it can be asked all the same.
function ofSettings(id) {
  return part(
    back(),
    pageHeader(id.replace(/^settings:/, ""), { description: h("code", null, id) }),
    h("p", { class: "note" }, icon("settings"), h("span", null, "This key stands in the service's settings, and is changed there only.")),
    leftCard(() => getLeft(id)).node,
    h("p", { class: "small" }, h("a", { href: hash("/usage", { key: id }) }, "Its usage")),
  );
}

function back() {
  return h("a", { class: "back small", href: hash("/keys") }, icon("chevron", { size: 14 }), "All keys");
}

function facts(key) {
  const rows = [
    ["Owner", key.owner || h("span", { class: "muted" }, "nobody")],
    ["Good for", h("span", { class: "chips" }, key.scopes.map((scope) => h("code", { class: "chip" }, scope)))],
    ["Models", modelNames(key.models)],
    ["Limits", limitsLine(key.limits, "the service's")],
    ["Of each end user", limitsLine(key.end_user_limits, "none")],
    ["In the queue", `${key.priority}, weight ${key.weight}`],
    ["Response cache", key.cache ? "used by each of its requests" : "where a request or the service asks for it"],
    ["Made", timeNode(key.created_at)],
    ["Expires", key.expires_at ? timeNode(key.expires_at) : "never"],
    key.revoked_at && ["Revoked", timeNode(key.revoked_at)],
    Object.keys(key.metadata).length > 0 && ["Metadata", h("pre", { class: "code", tabindex: "0", "aria-label": "Metadata" }, JSON.stringify(key.metadata, null, 2))],
  ];
  return factsCard("The key", rows);
}

/** A card of names and values. */
export function factsCard(title, rows) {
  return h("section", { class: "card" }, h("h2", null, title), h("dl", { class: "key-facts" }, rows.filter(Boolean).map(([name, value]) => [h("dt", null, name), h("dd", null, value)])));
}
