// What stands where there is nothing: nothing yet, or something that failed.

import { h } from "../lib/element.js";
import { icon } from "../lib/icons.js";

/** <empty-state>: a sign, a heading, a sentence, and what to do next. */
export class EmptyState extends HTMLElement {}
customElements.define("empty-state", EmptyState);

/** Nothing yet: what this place is for, and the next step. */
export function empty(title, text, { icon: name = "cube", level = 2, actions = [] } = {}) {
  return h(
    "empty-state",
    null,
    h("span", { class: "empty-icon", "aria-hidden": "true" }, icon(name, { size: 24 })),
    h(`h${level}`, { class: "empty-title" }, title),
    text && h("p", null, text),
    [actions].flat().length > 0 && h("div", { class: "actions" }, actions),
  );
}

/** Something failed: the error's own sentence, its request id, and a way to try again. */
export function failure(error, { title = "This did not work", again = null, level = 2 } = {}) {
  const element = h(
    "empty-state",
    { class: "failed" },
    h("span", { class: "empty-icon", "aria-hidden": "true" }, icon("alert", { size: 24 })),
    h(`h${level}`, { class: "empty-title" }, title),
    h("p", null, error?.message ?? String(error)),
    error?.requestId && h("p", { class: "muted small" }, "Request ", h("code", null, error.requestId)),
    again && h("div", { class: "actions" }, h("button", { type: "button", class: "button", onclick: again }, icon("refresh"), "Try again")),
  );
  element.setAttribute("role", "alert");
  return element;
}

/** Something is on its way; told to a screen reader after a moment only, as most things are quick. */
export function loading(text = "Loading…") {
  return h("div", { class: "loading", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), h("span", null, text));
}
