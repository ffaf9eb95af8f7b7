// My key: what it is good for, what is left of it, and how it is used.

import { failure } from "../../components/empty-state.js";
import { pageHeader } from "../../components/page-header.js";
import { h } from "../../lib/element.js";
import { timeNode } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { hash } from "../../lib/router.js";
import { may, session } from "../../lib/session.js";
import { part } from "../keys.js";
import { factsCard } from "./details.js";
import { leftCard } from "./left.js";
import { snippets } from "./snippets.js";
import { exampleModel, ownKeyBody, ownLeft } from "./store.js";
import { limitsLine, modelNames } from "./words.js";

/** The part of the page that shows the key that has signed in. */
export async function ownKey() {
  try {
    const key = await ownKeyBody();
    const model = await exampleModel(key.models);
    return { node: shown(key, model), follow: () => undefined };
  } catch (error) {
    return { node: part(pageHeader("My key"), failure(error, { title: "Your key cannot be shown", again: () => location.reload() })) };
  }
}

function shown(key, model) {
  return part(
    pageHeader("My key", { description: "What it is good for, and what is left of it." }),
    whose(key),
    h("div", { class: "grid" }, facts(key), leftCard(ownLeft).node),
    h("section", { class: "card" }, h("h2", null, "Use it with"), h("div", { class: "stack" }, h("p", { class: "muted small" }, "Put the key itself in place of ", h("code", null, "your-key"), ": no browser keeps it."), snippets({ model }))),
    may("usage:read") && h("p", { class: "small" }, h("a", { href: hash("/usage") }, "My usage")),
  );
}

function whose({ id }) {
  if (id.startsWith("key_")) return null;
  const words = session().signed_in ? "This key stands in the service's settings, and is changed there only." : "Keys are switched off: nobody is asked for one, and any will do.";
  return h("p", { class: "note" }, icon("settings"), h("span", null, words));
}

function facts(key) {
  return factsCard("The key", [
    ["Name", key.name],
    ["Id", h("code", null, key.id)],
    ["Good for", h("span", { class: "chips" }, key.scopes.map((scope) => h("code", { class: "chip" }, scope)))],
    ["Models", modelNames(key.models)],
    ["Limits", limitsLine(inForce(key.limits), "none")],
    ["Of each end user", limitsLine(inForce(key.end_user_limits), "none")],
    ["In the queue", `${key.priority}, weight ${key.weight}`],
    ["Expires", key.expires_at ? timeNode(key.expires_at) : "never"],
  ]);
}

function inForce(limits) {
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== null));
}
