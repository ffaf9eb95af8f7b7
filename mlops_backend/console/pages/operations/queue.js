// The queue as it moves: who waits, for how long, and the last minutes as a line.

import { dataTable } from "../../components/data-table.js";
import { h, replace } from "../../lib/element.js";
import { duration, number } from "../../lib/format.js";
import { keyName } from "./names.js";
import { ASKING, count, counter, section } from "./section.js";
import { Trail } from "./trail.js";

/** The queue; an administrator sees whose wait, others where their own stand. */
export function queueSection({ admin }) {
  return admin ? everybodys() : own();
}

function everybodys() {
  const badge = counter();
  const trail = new Trail();
  let at = 0;
  let told = null;
  const table = dataTable({
    caption: "Who waits",
    captionHidden: true,
    empty: ASKING,
    rowKey: (row) => `${row.key_id} ${row.class}`,
    columns: [
      { key: "key_id", label: "Key", header: true, cell: (row) => keyName(row.key_id) },
      { key: "class", label: "Class", cell: (row) => classOf(row.class) },
      { key: "waiting", label: "Waiting", align: "end", cell: (row) => number(row.waiting) },
      { key: "longest_waited_seconds", label: "Longest", align: "end", cell: (row) => waited(row.longest_waited_seconds + since(at)) },
    ],
  });
  const draw = () => {
    if (!told) return;
    count(badge, told.waiting);
    table.empty = "Nobody waits.";
    table.rows = told.waiting_by;
  };
  const hears = {
    queue: (heard, moment) => {
      [told, at] = [heard, moment.at];
      draw();
    },
  };
  const tick = () => {
    if (told) trail.add(told.running, told.waiting);
    if (told?.waiting) draw();
  };
  return { node: section("Queue", { count: badge }, h("div", { class: "queue" }, trail.node, h("div", { class: "card flush" }, table))), hears, tick };
}

function own() {
  const badge = counter();
  const list = h("ol", { class: "places" }, h("li", { class: "muted" }, ASKING));
  let told = null;
  let at = 0;
  const draw = () => {
    if (!told) return;
    count(badge, told.own.length);
    if (told.own.length) replace(list, told.own.map((place) => placeOf(place, since(at))));
    else replace(list, h("li", { class: "muted" }, told.waiting ? `None of yours waits; ${number(told.waiting)} of others do.` : "Nobody waits."));
  };
  const hears = {
    queue: (heard, moment) => {
      [told, at] = [heard, moment.at];
      draw();
    },
  };
  return { node: section("Your place in the queue", { count: badge }, h("div", { class: "card" }, list)), hears, tick: () => told?.own.length && draw() };
}

function placeOf(place, seconds) {
  const left = Math.max(0, place.expected_seconds - seconds);
  const before = place.ahead === 0 ? "Next" : `${number(place.ahead)} before it`;
  const facts = [`waits for ${waited(place.waited_seconds + seconds)}`, left > 0 && `about ${waited(left)} to go`];
  return h("li", null, h("strong", null, before), " ", classOf(place.class), h("span", { class: "muted small facts" }, facts.filter(Boolean).map((fact) => h("span", null, fact))));
}

/** The class of a generation. */
export function classOf(name) {
  return h("span", { class: "badge" }, name === "batch" ? "Batch" : "Interactive");
}

function since(at) {
  return (performance.now() - at) / 1000;
}

/** Seconds that grow: whole ones. */
export function waited(seconds) {
  return duration(Math.max(1, Math.round(seconds)) * 1000);
}
