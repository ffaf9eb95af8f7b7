// A reply that failed: what was said, what to do, and the id by which the operator finds it in the log.

import { h } from "../lib/element.js";
import { icon } from "../lib/icons.js";
import { explained } from "../lib/trouble.js";
import { copyButton } from "./copy-button.js";

/** A note about a trouble (lib/trouble.js), with buttons that may help. */
export function troubleNote(trouble, actions = []) {
  const { title, said, advice, link } = explained(trouble);
  return h(
    "div",
    { class: "note danger trouble" },
    icon("alert"),
    h(
      "div",
      { class: "trouble-text" },
      h("p", null, h("strong", null, title)),
      said && h("p", { class: "trouble-said" }, said),
      h("p", null, advice, " ", link && h("a", { href: link[0] }, link[1])),
      trouble.requestId && requestLine(trouble.requestId),
      [actions].flat().filter(Boolean).length > 0 && h("div", { class: "actions" }, actions),
    ),
  );
}

function requestLine(id) {
  return h("p", { class: "small trouble-id" }, "Request ", h("code", null, id), copyButton(id, { compact: true, label: "Copy the request id" }));
}
