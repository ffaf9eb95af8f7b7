// What is left of limits, as bars and in words.

import { progressBar } from "../../components/progress-bar.js";
import { h, replace } from "../../lib/element.js";
import { number } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { labelOf, LIMITS, written } from "./words.js";

/** A card that asks for what is left, and again when it is told to. */
export function leftCard(ask) {
  const place = h("div", { class: "left", role: "status" }, h("p", { class: "muted" }, "Asking…"));
  const again = h("button", { type: "button", class: "button plain small", onclick: () => show() }, icon("refresh", { size: 16 }), "Refresh");
  const node = h("section", { class: "card", "aria-labelledby": "what-is-left" }, h("div", { class: "row apart keys-head" }, h("h2", { id: "what-is-left" }, "What is left"), again), place);
  async function show() {
    again.disabled = true;
    try {
      const { limits } = await ask();
      replace(place, limits.length ? h("ul", { class: "left-list" }, limits.map(one)) : h("p", { class: "muted" }, "No limit is in force."));
    } catch (error) {
      replace(place, h("p", { class: "note warning" }, icon("alert"), h("span", null, error.message)));
    }
    again.disabled = false;
  }
  show();
  return { node, show };
}

function one({ name, limit, most, remaining, reset_seconds: seconds }) {
  const share = most > 0 ? remaining / most : 0;
  const { unit } = LIMITS.find((each) => each.name === name) ?? { unit: "" };
  const bar = progressBar(share, { label: `Left of ${labelOf(name)}`, text: "" });
  bar.classList.toggle("low", share < 0.1);
  return h(
    "li",
    null,
    h("div", { class: "row apart" }, h("span", { class: "left-name" }, labelOf(name)), h("span", { class: "muted small" }, "limit ", written(limit))),
    bar,
    h("div", { class: "row apart small" }, h("span", null, h("strong", { class: "figure" }, number(remaining)), ` of ${number(most)} ${unit} left`), when(name, seconds)),
  );
}

function when(name, seconds) {
  if (name === "concurrent") return h("span", { class: "muted" }, "the others are running");
  if (!seconds && !name.startsWith("tokens_per")) return h("span", { class: "muted" }, "all of it");
  const verb = name.startsWith("tokens_per") ? "begins anew" : "all of it";
  return h("span", { class: "muted" }, `${verb} in ${span(seconds)}`);
}

/** "42 s", "5 min", "3 h 20 min", "12 days" */
export function span(seconds) {
  if (seconds < 60) return `${number(seconds)} s`;
  if (seconds < 3600) return `${number(Math.ceil(seconds / 60))} min`;
  if (seconds < 2 * 86_400) return `${number(Math.floor(seconds / 3600))} h ${number(Math.floor((seconds % 3600) / 60))} min`;
  return `${number(Math.floor(seconds / 86_400))} days`;
}
