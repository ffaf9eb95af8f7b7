// The list of keys: a page at a time, found by name and owner.

import { dataTable } from "../../components/data-table.js";
import { empty, failure, loading } from "../../components/empty-state.js";
import { pageHeader } from "../../components/page-header.js";
import { h, replace } from "../../lib/element.js";
import { timeNode, relative } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { go, hash, setParams } from "../../lib/router.js";
import { part } from "../keys.js";
import { askForKey } from "./form.js";
import { showSecret } from "./secret.js";
import { listKeys } from "./store.js";
import { limitsLine, modelNames, stateBadge } from "./words.js";

const PAUSE = 250;

/** The part of the page that lists keys; it follows the address. */
export function keyList(params) {
  const list = new KeyList();
  list.follow(params);
  return { node: list.node, follow: (now) => list.follow(now) };
}

class KeyList {
  #asking = null;
  #timer = 0;

  constructor() {
    const search = (name, label) => h("input", { class: "input", type: "search", name, placeholder: label, "aria-label": label, oninput: () => this.#later() });
    this.name = search("name", "Part of a name");
    this.owner = search("owner", "Owner, in full");
    this.revoked = h("input", { type: "checkbox", onchange: () => this.#search() });
    this.place = h("div", { class: "card flush" }, loading());
    this.settings = h("p", { class: "muted small" });
    this.pages = h("nav", { class: "row", "aria-label": "Pages of keys" });
    const make = h("button", { type: "button", class: "button primary", onclick: () => newKey() }, icon("plus"), "New key");
    this.node = part(
      pageHeader("Keys", { description: "Who may use the service, for what, and how much of it.", actions: make }),
      h("search", { class: "row key-search" }, this.name, this.owner, h("label", { class: "check" }, this.revoked, "Revoked too")),
      this.place,
      this.pages,
      this.settings,
    );
  }

  follow(params) {
    const asked = { name: params.get("name"), owner: params.get("owner"), revoked: params.has("revoked"), after: params.get("after") };
    if (document.activeElement !== this.name) this.name.value = asked.name ?? "";
    if (document.activeElement !== this.owner) this.owner.value = asked.owner ?? "";
    this.revoked.checked = asked.revoked;
    return this.#ask(asked);
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#search(), PAUSE);
  }

  #search() {
    if (!this.node.isConnected) return;
    setParams({ name: this.name.value.trim(), owner: this.owner.value.trim(), revoked: this.revoked.checked ? "1" : null, after: null });
  }

  async #ask(asked) {
    this.#asking?.abort();
    const mine = (this.#asking = new AbortController());
    this.place.setAttribute("aria-busy", "true");
    try {
      const found = await listKeys(asked, mine.signal);
      if (this.#asking === mine) this.#show(found, asked);
    } catch (error) {
      if (error.name !== "AbortError" && this.#asking === mine) replace(this.place, failure(error, { title: "The keys cannot be listed", again: () => this.#ask(asked) }));
    }
    if (this.#asking === mine) this.place.removeAttribute("aria-busy");
  }

  #show({ keys, next, configured }, asked) {
    replace(this.settings, ofSettings(configured));
    const isSearch = asked.name || asked.owner || asked.revoked;
    if (keys.length) replace(this.place, table(keys));
    else if (isSearch || asked.after) replace(this.place, empty("No key is like that", "Names are searched for a part, owners for the whole.", { icon: "search" }));
    else replace(this.place, empty("No keys yet", "A key is for one person, one program or one front end: give each their own, with limits.", { icon: "key", actions: h("button", { type: "button", class: "button", onclick: () => newKey() }, icon("plus"), "New key") }));
    const move = (text, after) => h("button", { type: "button", class: "button small", onclick: () => setParams({ after }, { replace: false }) }, text);
    replace(this.pages, asked.after && move("Newest", null), next && move("Older keys", next));
  }
}

function ofSettings(keys) {
  const names = keys.map(({ id, name }, at) => [at > 0 && ", ", h("a", { href: hash("/keys", { id }) }, name)]);
  return ["Keys of the service's settings are changed there only: ", h("code", null, "API_KEY"), names.length > 0 && [" and ", h("code", null, "API_KEYS"), " (", names, ")"], "."];
}

async function newKey() {
  const made = await askForKey();
  if (!made) return;
  await showSecret(made);
  go("/keys", { id: made.id });
}

function table(keys) {
  return dataTable({
    caption: "Keys, newest first",
    captionHidden: true,
    rows: keys,
    columns: [
      { key: "name", label: "Name", header: true, sort: false, cell: (key) => h("a", { href: hash("/keys", { id: key.id }) }, key.name) },
      { key: "owner", label: "Owner", sort: false, cell: (key) => key.owner || "–" },
      { key: "state", label: "State", sort: false, cell: (key) => stateBadge(key.state) },
      { key: "models", label: "Models", sort: false, cell: (key) => modelNames(key.models, 2) },
      { key: "limits", label: "Limits", sort: false, cell: (key) => h("span", { class: "small" }, limitsLine(key.limits, h("span", { class: "muted" }, "the service's"))) },
      { key: "created_at", label: "Made", sort: false, align: "end", cell: (key) => timeNode(key.created_at, relative) },
      { key: "expires_at", label: "Expires", sort: false, align: "end", cell: (key) => (key.expires_at ? timeNode(key.expires_at, relative) : h("span", { class: "muted" }, "never")) },
    ],
  });
}
