// What a newcomer may ask: a click fills the prompt.

import { h } from "../../lib/element.js";
import { icon } from "../../lib/icons.js";

const EXAMPLES = [
  ["Explain", "Why is the sky blue? Explain it to a child."],
  ["Write", "Write a short story about a robot who learns to paint."],
  ["Code", "Write a Python function that tells whether a word is a palindrome, with a docstring."],
  ["Compare", "Compare tea and coffee in a small table: taste, caffeine, price."],
];

/** The examples; `choose(text)` is called with the one that was clicked. */
export function examples(choose) {
  const one = ([title, text]) =>
    h("li", null, h("button", { type: "button", class: "example", onclick: () => choose(text) }, h("span", { class: "example-title" }, title), h("span", null, text)));
  return h(
    "section",
    { class: "welcome", "aria-labelledby": "welcome" },
    h("span", { class: "empty-icon", "aria-hidden": "true" }, icon("chat", { size: 24 })),
    h("h2", { id: "welcome" }, "What would you like to try?"),
    h("p", { class: "muted" }, "Write a message below, or begin with one of these."),
    h("ul", { class: "examples" }, EXAMPLES.map(one)),
  );
}
