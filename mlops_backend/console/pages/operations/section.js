// A part of the page: its heading, how many there are, and what it shows.

import { h, uniqueId } from "../../lib/element.js";

/** A part of the page under its heading; `count` is an element beside it. */
export function section(title, { count = null, aside = null } = {}, ...children) {
  const id = uniqueId("part");
  return h(
    "section",
    { class: "part", "aria-labelledby": id },
    h("div", { class: "row apart part-head" }, h("h2", { id }, title, count && " ", count), aside),
    ...children,
  );
}

/** What a table shows that has not been told anything yet. */
export const ASKING = "Asking…";

/** A number beside a heading. */
export function counter() {
  return h("span", { class: "badge part-count", hidden: true });
}

/** Show a number, or nothing. */
export function count(badge, number) {
  badge.textContent = String(number);
  badge.hidden = !number;
}
