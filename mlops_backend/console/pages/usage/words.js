// How values of the ledger are shown.

import { h } from "../../lib/element.js";
import { compact, money, number } from "../../lib/format.js";

const KINDS = { done: "good", error: "danger", timeout: "danger", refused: "warning", drained: "warning" };
const NOTHINGS = { model: "no model", backend: "no backend", end_user: "nobody named", key: "no key" };
const LONGEST = 42;

/** An outcome as a badge. */
export function outcome(value) {
  return h("span", { class: ["badge", "dot", KINDS[value]] }, words(value));
}

/** `client_gone` in words. */
export const words = (value) => String(value).replaceAll("_", " ");

/** A value as text, short enough for a legend; of a hash its beginning. */
export function label(dimension, value, name = null) {
  if (value == null) return "Other";
  if (value === "") return NOTHINGS[dimension] ?? "none";
  if (dimension === "outcome") return words(value);
  const text = name || value;
  if (dimension === "end_user" && /^hash:[0-9a-f]{32}$/.test(text)) return `${text.slice(0, 13)}…`;
  const marks = [...text]; // a cut between two of its units may halve one
  return marks.length > LONGEST ? `${marks.slice(0, LONGEST - 1).join("")}…` : text;
}

/** The same, with the whole value as its title where that says more. */
export function told(dimension, value, name = null) {
  const text = label(dimension, value, name);
  const isFaint = value == null || value === "";
  return h("span", { title: text === value || isFaint ? null : value, class: isFaint && "muted" }, text);
}

/** How a measure's numbers are written, in full and on an axis. */
export const writing = {
  spend: { format: money, axisFormat: (value) => (value === 0 ? "0" : value >= 1000 ? compact(value) : money(value)) },
  tokens: { format: (value) => number(value), axisFormat: compact },
  generations: { format: (value) => number(value), axisFormat: compact },
};
