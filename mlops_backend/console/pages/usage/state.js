// What the address says: which generations, told apart by what; and the questions that follow from it.

import { session } from "../../lib/session.js";
import { intervalOf, spanOf } from "./spans.js";

/** By what usage may be told apart; `key` is the administrator's. */
export const DIMENSIONS = [
  ["model", "Model"],
  ["key", "Key"],
  ["backend", "Backend"],
  ["outcome", "Outcome"],
  ["end_user", "End user"],
  ["dialect", "Dialect"],
  ["route", "Route"],
];
/** By what it may be chosen. */
export const FILTERS = ["model", "key", "backend", "outcome", "end_user", "dialect", "route"];
export const OUTCOMES = ["done", "refused", "error", "timeout", "client_gone", "drained", "cancelled"];
export const FAILED = OUTCOMES.filter((one) => one !== "done").join(",");
export const MEASURES = { spend: "Spend", tokens: "Tokens", generations: "Generations" };
/** So many groups are told apart in a chart; all others are one. */
export const TOP = 7;
const PAGE = 25;

/** Whether one sees everybody's, and so keys. */
export const isAll = () => session().admin;

/** The route of a question: one's own, or everybody's. */
export const route = (rest = "") => `${isAll() ? "/api/admin/usage" : "/api/usage"}${rest}`;

/** All that parameters say. */
export function stateOf(params, now) {
  const span = spanOf(params, now);
  const names = FILTERS.filter((name) => params.get(name) && (name !== "key" || isAll()));
  const by = params.get("by") ?? "model";
  return {
    span,
    interval: intervalOf(params.get("interval"), span),
    by: by === "none" || !dimensions().some(([name]) => name === by) ? null : by,
    measure: params.get("measure"),
    filters: Object.fromEntries(names.map((name) => [name, params.get(name)])),
    failed: params.get("failed") === "1",
    generation: params.get("generation"),
  };
}

/** What this key may tell apart. */
export function dimensions() {
  return DIMENSIONS.filter(([name]) => name !== "key" || isAll());
}

/** What a dimension is called. */
export const nameOf = (dimension) => DIMENSIONS.find(([name]) => name === dimension)?.[1] ?? "";

/** Which generations, as every route takes it. */
export const chosen = ({ span, filters }) => ({ from: span.from, to: span.to, ...filters });

/** The questions of a state. */
export const questions = {
  series: (state) => ({ ...chosen(state), interval: state.interval, ...(state.by ? { group_by: state.by, top: TOP } : {}) }),
  before: (state) => ({ ...chosen(state), ...state.span.before }),
  groups: (state) => ({ ...chosen(state), group_by: state.by }),
  latency: (state) => ({ ...chosen(state), group_by: ["model", "backend"].includes(state.by) ? state.by : null }),
  newest: (state) => ({ ...chosen(state), limit: PAGE, ...(state.failed && !state.filters.outcome ? { outcome: FAILED } : {}) }),
};

/** The value of a measure in a row of sums. */
export function valueOf(measure, row) {
  if (measure === "spend") return Number(row.price);
  return measure === "tokens" ? row.total_tokens : row.generations;
}
