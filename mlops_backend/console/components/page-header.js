// Every page begins with the same head: its heading, one sentence, and its actions at the right.

import { h } from "../lib/element.js";

/** The head of a page. */
export function pageHeader(title, { description = null, actions = [] } = {}) {
  return h(
    "header",
    { class: "page-header" },
    h("div", { class: "page-title" }, h("h1", { tabindex: "-1" }, title), description && h("p", { class: "muted" }, description)),
    [actions].flat().length > 0 && h("div", { class: "actions" }, actions),
  );
}
