// From when to when, and what lies between: days and hours are the operator's, as the service tells them.

import { json } from "../../lib/api.js";
import { day, NOTHING } from "../../lib/format.js";

const DAY = 86_400_000;
const HOUR = 3_600_000;
/** A series has so many intervals at most: the service answers with a thousand rows. */
export const MOST = 125;
/** How far back one looks; "custom" is from one day to another. */
export const SPANS = [["1d", "24 hours"], ["7d", "7 days"], ["30d", "30 days"], ["90d", "90 days"], ["custom", "Custom"]];
export const INTERVALS = [["hour", "hour"], ["day", "day"], ["month", "month"]];

/** The service's present: {at, day}; the browser's own where it cannot be asked. */
export async function present(path, signal) {
  const from = Math.floor(Date.now() / 1000) - 600;
  try {
    const { to } = await json("GET", path, { query: { from, limit: 1 }, signal });
    return { at: Date.parse(to), day: to.slice(0, 10) };
  } catch (error) {
    if (error.status !== 422) throw error;
    const now = new Date();
    return { at: now.getTime(), day: [now.getFullYear(), two(now.getMonth() + 1), two(now.getDate())].join("-") };
  }
}

/** A day so many days later. */
export function addDays(text, count) {
  return new Date(Date.parse(`${text}T00:00:00Z`) + count * DAY).toISOString().slice(0, 10);
}

/** The span that parameters name: {name, from, to, before: {from, to}, hours}; `from` and `to` as the service takes them. */
export function spanOf(params, now) {
  const name = SPANS.some(([one]) => one === params.get("span")) ? params.get("span") : "7d";
  if (name === "custom" && isDay(params.get("from")) && isDay(params.get("to"))) return custom(params.get("from"), params.get("to"));
  const days = Number.parseInt(name, 10) || 7;
  if (days === 1) {
    const from = Math.floor((now.at - DAY) / HOUR) * HOUR;
    return { name, from: iso(from), to: null, before: { from: iso(from - DAY), to: iso(now.at - DAY) }, hours: 25 };
  }
  const before = { from: addDays(now.day, 1 - 2 * days), to: iso(now.at - days * DAY) };
  return { name, from: addDays(now.day, 1 - days), to: null, before, hours: days * 24, first: addDays(now.day, 1 - days), last: now.day };
}

function custom(one, other) {
  const [first, last] = one <= other ? [one, other] : [other, one];
  const days = Math.round((Date.parse(last) - Date.parse(first)) / DAY) + 1;
  return { name: "custom", from: first, to: addDays(last, 1), before: { from: addDays(first, -days), to: first }, hours: days * 24, first, last };
}

/** The interval that fits a span, or the one that was asked for, where that has not too many. */
export function intervalOf(asked, { hours }) {
  if (fits(asked, hours)) return asked;
  if (hours <= 49) return "hour";
  return fits("day", hours) ? "day" : "month";
}

/** Whether a series of a span would have few enough of these. */
export function fits(interval, hours) {
  const length = { hour: 1, day: 24, month: 24 * 28 }[interval];
  return length !== undefined && hours / length <= MOST;
}

/** What names the interval of a row that begins at `start`; the same for all rows of one interval. */
export function placeOf(interval, start) {
  if (interval === "hour") return Date.parse(start);
  return start.slice(0, interval === "month" ? 7 : 10);
}

/** Every interval of an answer, those without a row too: [{place, label}]. */
export function places(interval, { from, to, rows }) {
  if (interval === "hour") return hours(from, to, rows);
  const last = /T00:00:00/.test(to) ? addDays(to.slice(0, 10), -1) : to.slice(0, 10);
  const found = [];
  for (let one = from.slice(0, 10); one <= last; one = addDays(one, 1)) {
    const place = one.slice(0, interval === "month" ? 7 : 10);
    if (found.at(-1) !== place) found.push(place);
  }
  return found.map((place) => ({ place, label: interval === "month" ? month(place) : day(place) }));
}

// An hour is told by the operator's clock: of what has no row, by the difference from UTC of the row before.
function hours(from, to, rows) {
  const offsets = new Map(rows.map(({ start }) => [Date.parse(start), offset(start)]));
  const phase = rows.length ? Date.parse(rows[0].start) % HOUR : -offset(from) % HOUR;
  const begin = Date.parse(from) - modulo(Date.parse(from) - phase, HOUR);
  for (let at = begin; at < Date.parse(to); at += HOUR) if (!offsets.has(at)) offsets.set(at, null);
  const isLong = Date.parse(to) - Date.parse(from) > 26 * HOUR;
  const different = new Set([offset(from), offset(to), ...[...offsets.values()].filter((one) => one !== null)]);
  let known = offset(from);
  return [...offsets].sort(([one], [other]) => one - other).map(([place, told]) => {
    known = told ?? known;
    return { place, label: hour(place, known, isLong, different.size > 1) };
  });
}

function hour(at, known, isLong, isTold) {
  const local = new Date(at + known).toISOString();
  const clock = local.slice(11, 16);
  const zone = isTold ? ` UTC${known < 0 ? "−" : "+"}${two(Math.floor(Math.abs(known) / HOUR))}:${two(Math.round((Math.abs(known) % HOUR) / 60_000))}` : "";
  return `${isLong ? `${day(local.slice(0, 10))}, ` : ""}${clock}${zone}`;
}

/** How far a time's zone is from UTC, in milliseconds. */
function offset(text) {
  const [, sign, hour = 0, minute = 0] = /([+-])(\d\d):(\d\d)(?::\d\d)?$/.exec(text) ?? [];
  return (sign === "-" ? -1 : 1) * (Number(hour) * HOUR + Number(minute) * 60_000);
}

const MONTH = new Intl.DateTimeFormat(undefined, { month: "short", year: "numeric", timeZone: "UTC" });
function month(text) {
  return text ? MONTH.format(new Date(`${text}-15T12:00:00Z`)) : NOTHING;
}

function isDay(text) {
  return /^\d{4}-\d\d-\d\d$/.test(text ?? "") && !Number.isNaN(Date.parse(text));
}

const modulo = (value, by) => ((value % by) + by) % by;
const iso = (at) => new Date(at).toISOString();
const two = (part) => String(part).padStart(2, "0");
