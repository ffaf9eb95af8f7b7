// How what keys have is called.

import { h } from "../../lib/element.js";
import { number } from "../../lib/format.js";

export const STATES = { active: ["Active", "good"], disabled: ["Disabled", "warning"], expired: ["Expired", "warning"], revoked: ["Revoked", "danger"] };

export const SCOPES = [
  ["inference", "Generate: chat, completions, embeddings; conversations"],
  ["models:read", "See which models there are"],
  ["usage:read", "See its own usage"],
  ["models:write", "Pull, create, copy and delete models"],
  ["metrics:read", "Read the metrics"],
  ["admin", "Everything, keys included"],
];

/** The five limits in the API's own words; a rate is written `60/minute` or `60/minute burst 10`. */
export const LIMITS = [
  { name: "requests", label: "Requests", unit: "generations", isRate: true, example: "60/minute burst 10", help: "Generations, as a rate" },
  { name: "tokens", label: "Tokens", unit: "tokens", isRate: true, example: "10000/minute", help: "Prompt and completion together, as a rate" },
  { name: "tokens_per_day", label: "Tokens per day", unit: "tokens", example: "200000", help: "A budget for each day" },
  { name: "tokens_per_month", label: "Tokens per month", unit: "tokens", example: "4000000", help: "A budget for each month" },
  { name: "concurrent", label: "Concurrent", unit: "generations", example: "4", help: "Generations at a time" },
];

const LABELS = new Map(LIMITS.map((one) => [one.name, one.label]));
export const labelOf = (name) => LABELS.get(name) ?? name;

/** A limit as one reads it: "60/minute", "200,000", "no limit". */
export const written = (value) => (value === null ? "no limit" : typeof value === "number" ? number(value) : value);

/** Limits in one line; what is not named is the service's. */
export function limitsLine(limits, none) {
  const parts = LIMITS.filter(({ name }) => name in limits).map(({ name, label }) => `${label.toLowerCase()} ${written(limits[name])}`);
  return parts.length ? parts.join(", ") : none;
}

export function stateBadge(state) {
  const [label, kind] = STATES[state] ?? [state, ""];
  return h("span", { class: `badge dot ${kind}` }, label);
}

/** Patterns of models as a row of names; none is every model. */
export function modelNames(models, most = models.length) {
  if (!models.length) return h("span", { class: "muted" }, "every model");
  const shown = models.slice(0, most).map((one) => h("code", { class: "chip" }, one));
  const rest = models.length - shown.length;
  return h("span", { class: "chips" }, shown, rest > 0 && h("span", { class: "muted small" }, `and ${number(rest)} more`));
}
