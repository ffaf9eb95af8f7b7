// All of a span in a few figures, beside the span before.

import { h, hidden, replace } from "../../lib/element.js";
import { compact, exact, money, percent } from "../../lib/format.js";

const FIGURES = [
  ["Spend", (total) => Number(total.price), money, (total) => total.price],
  ["Tokens", (total) => total.total_tokens],
  ["Prompt", (total) => total.prompt_tokens],
  ["Completion", (total) => total.completion_tokens],
  ["Generations", (total) => total.generations],
];

/** The tiles; `show(total, before)` as soon as the one and then the other is known. */
export class Totals {
  node = h("dl", { class: "tiles usage-tiles" });

  show(total, before = null, hasMoney = false) {
    const figures = FIGURES.filter(([name]) => name !== "Spend" || hasMoney);
    replace(this.node, figures.map((figure) => tile(figure, total, before)));
  }
}

/** Whether the operator has prices, as far as these sums tell. */
export function isPriced(...totals) {
  return totals.some((total) => total && Number(total.price) !== 0);
}

function tile([name, value, text = compact, whole = value], total, before) {
  const figure = h("span", { title: String(whole(total)) }, text === compact ? exact(value(total)) : text(value(total)));
  return h("div", { class: "tile" }, h("dt", null, name), h("dd", null, figure), h("dd", { class: "usage-delta small muted" }, difference(value(total), before && value(before), text)));
}

function difference(now, before, text) {
  if (before === null) return " ";
  const was = ` (${text(before)})`;
  if (before === 0) return now === 0 ? "as before" : "none before";
  const share = now / before - 1;
  if (Math.abs(share) < 0.0005) return "as before";
  const much = share > 9.99 ? `${compact(now / before)} times` : percent(Math.abs(share), Math.abs(share) < 0.1 ? 1 : 0);
  return h("span", { title: `The span before: ${text(before)}` }, h("span", { "aria-hidden": "true" }, share > 0 ? "↑ " : "↓ "), hidden(share > 0 ? "more by " : "less by "), much, h("span", { class: "usage-was" }, was));
}
