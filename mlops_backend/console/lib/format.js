// Numbers and times as the reader's browser writes them; what was rounded is whole in `title`.

import { h } from "./element.js";

const LOCALE = undefined;
const formats = new Map();
export const NOTHING = "–";

function format(options) {
  const name = JSON.stringify(options);
  if (!formats.has(name)) formats.set(name, new Intl.NumberFormat(LOCALE, options));
  return formats.get(name);
}

function isNothing(value) {
  return value == null || value === "" || Number.isNaN(Number(value));
}

/** 12,345.7 */
export function number(value, digits = 0) {
  return isNothing(value) ? NOTHING : format({ maximumFractionDigits: digits }).format(value);
}

/** 12.3K, as axes and tiles have it. */
export function compact(value) {
  if (isNothing(value)) return NOTHING;
  return format({ notation: "compact", maximumSignificantDigits: 3 }).format(value);
}

/** Tokens: whole numbers. */
export const tokens = (value) => number(value);

/** An amount in the operator's currency, which has no name here; small ones keep what matters of them. */
export function money(value) {
  if (isNothing(value)) return NOTHING;
  const amount = Number(value);
  const isSmall = amount !== 0 && Math.abs(amount) < 0.1;
  if (isSmall) return format({ maximumSignificantDigits: 2, maximumFractionDigits: 9 }).format(amount);
  return format({ minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(amount);
}

/** 42.5% of a share such as 0.425. */
export function percent(value, digits = 1) {
  return isNothing(value) ? NOTHING : format({ style: "percent", maximumFractionDigits: digits }).format(value);
}

/** 1.2 GiB */
export function bytes(value) {
  if (isNothing(value)) return NOTHING;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = value > 0 ? Math.min(Math.floor(Math.log2(value) / 10), units.length - 1) : 0;
  return `${format({ maximumSignificantDigits: 3 }).format(value / 1024 ** power)} ${units[power]}`;
}

/** 340 ms, 1.2 s, 3 min 4 s, 2 h 5 min, 4 d 1 h */
export function duration(ms) {
  if (isNothing(ms)) return NOTHING;
  if (Math.abs(ms) < 1000) return `${format({ maximumSignificantDigits: 3 }).format(Math.abs(ms) < 1 ? ms : Math.round(ms))} ms`;
  if (ms < 60_000) return `${format({ maximumSignificantDigits: 3 }).format(ms / 1000)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return join([Math.floor(seconds / 60), "min"], [seconds % 60, "s"]);
  if (seconds < 86_400) return join([Math.floor(seconds / 3600), "h"], [Math.floor((seconds % 3600) / 60), "min"]);
  return join([Math.floor(seconds / 86_400), "d"], [Math.floor((seconds % 86_400) / 3600), "h"]);
}

function join([much, unit], [rest, smaller]) {
  return rest ? `${number(much)} ${unit} ${rest} ${smaller}` : `${number(much)} ${unit}`;
}

const DATE = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium" });
const DAY = new Intl.DateTimeFormat(LOCALE, { month: "short", day: "numeric" });
const TIME = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeStyle: "short" });
const CLOCK = new Intl.DateTimeFormat(LOCALE, { timeStyle: "medium" });
const EXACT = new Intl.DateTimeFormat(LOCALE, { dateStyle: "full", timeStyle: "long" });
const RELATIVE = new Intl.RelativeTimeFormat(LOCALE, { numeric: "auto" });
const STEPS = [["year", 31_557_600], ["month", 2_629_800], ["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]];

/** Nov 29, 2026; a bare day (`2026-11-29`) is that day, whatever the zone. */
export function date(value) {
  if (value == null) return NOTHING;
  const isDay = typeof value === "string" && /^\d{4}-\d\d-\d\d$/.test(value);
  return DATE.format(new Date(isDay ? `${value}T12:00:00` : value));
}

/** Nov 29, as axes have it. */
export const day = (value) => (value == null ? NOTHING : DAY.format(new Date(/^\d{4}-\d\d-\d\d$/.test(value) ? `${value}T12:00:00` : value)));

/** Nov 29, 2026, 11:05 PM */
export const time = (value) => (value == null ? NOTHING : TIME.format(new Date(value)));

/** 11:05:42 PM */
export const clock = (value) => (value == null ? NOTHING : CLOCK.format(new Date(value)));

/** "3 minutes ago", "in 2 days" */
export function relative(value, now = Date.now()) {
  if (value == null) return NOTHING;
  const seconds = (new Date(value).getTime() - now) / 1000;
  const [unit, size] = STEPS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
  return RELATIVE.format(Math.trunc(seconds / size), unit);
}

/** A <time> with this text (`time` by default), and the exact one as its title. */
export function timeNode(value, text = time) {
  if (value == null) return NOTHING;
  const moment = new Date(value);
  return h("time", { datetime: moment.toISOString(), title: EXACT.format(moment) }, text(value));
}

/** A rounded number whose title is the whole one. */
export function exact(value, text = compact) {
  return isNothing(value) ? NOTHING : h("span", { title: String(value) }, text(value));
}
