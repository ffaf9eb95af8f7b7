// How long generations took: a histogram for each measure, and percentiles by model or backend.

import { dataTable } from "../../components/data-table.js";
import { empty, failure, loading } from "../../components/empty-state.js";
import { chart } from "../../components/x-chart.js";
import { h, replace } from "../../lib/element.js";
import { compact, date, duration, number } from "../../lib/format.js";
import { told, words } from "./words.js";

const MEASURES = [
  ["first_token", "Time to the first token", "Streams, from the request's arrival on; the queue counts."],
  ["each_token", "Time per output token", "Streams whose backend told how many tokens there were."],
  ["whole", "Whole duration", "All generations, from the request's arrival to the end."],
];
const PERCENTILES = ["p50", "p90", "p99"];
const A_DECADE = 10;

/** The section; `show(state, answer)` draws what the route said. */
export class Latency {
  node = h("section", { class: "stack usage-latency", "aria-labelledby": "usage-latency" });
  #title = h("h2", { id: "usage-latency" }, "Latency");
  #isEmpty = true;
  #cards = MEASURES.map((measure) => new Card(measure));

  wait() {
    this.node.setAttribute("aria-busy", "true");
    if (this.#isEmpty) replace(this.node, this.#title, h("div", { class: "card" }, loading()));
  }

  fail(error, again) {
    this.#isEmpty = true;
    this.node.removeAttribute("aria-busy");
    replace(this.node, this.#title, h("div", { class: "card" }, failure(error, { title: "Latencies cannot be shown", level: 3, again })));
  }

  show(state, answer) {
    this.node.removeAttribute("aria-busy");
    this.#isEmpty = answer.total.whole.generations === 0;
    const about = h("p", { class: "small muted" }, this.#about(state, answer));
    if (this.#isEmpty) return void replace(this.node, this.#title, about, h("div", { class: "card" }, empty("Nothing to measure", "No generation of this span fits the filters.", { icon: "activity", level: 3 })));
    const charts = h("div", { class: "usage-histograms" }, this.#cards.map((card) => card.show(answer.total)));
    replace(this.node, this.#title, about, charts, answer.rows.length > 1 && this.#table(answer));
    return undefined;
  }

  #about({ filters }, answer) {
    const kind = filters.outcome ? words(filters.outcome) : "done";
    const since = Date.parse(answer.known_from) > Date.parse(answer.from) ? ` What is older than ${date(answer.known_from)} is known as sums only.` : "";
    return `Of generations that are ${kind}. Percentiles are made of the bars, and off by half of one at most.${since}`;
  }

  #table({ rows, group_by: by, truncated }) {
    const columns = [
      { key: by, label: by === "model" ? "Model" : "Backend", header: true, cell: (row) => told(by, row[by]) },
      { key: "generations", label: "Generations", align: "end", sort: (row) => row.whole.generations, cell: (row) => number(row.whole.generations) },
      ...MEASURES.slice(0, 2).flatMap(([name]) =>
        PERCENTILES.map((one) => ({
          key: `${name} ${one}`,
          label: `${name === "first_token" ? "First" : "Each"} ${one}`,
          align: "end",
          sort: (row) => row[name][`${one}_ms`],
          cell: (row) => duration(row[name][`${one}_ms`]),
        })),
      ),
      { key: "whole", label: "Whole p50", align: "end", sort: (row) => row.whole.p50_ms, cell: (row) => duration(row.whole.p50_ms) },
    ];
    const caption = `First token, each token behind it, and all of it, by ${by}`;
    const note = truncated && h("p", { class: "usage-more small muted" }, `The ${number(rows.length)} with the most generations are shown.`);
    return h("div", { class: "card flush usage-dense" }, dataTable({ caption, columns, rows, sort: { key: "generations", descending: true } }), note);
  }
}

// One measure; its chart stays the same element, and so stays a table where it was made one.
class Card {
  constructor([name, caption, about]) {
    Object.assign(this, { name, caption, about });
    this.chart = chart({ caption, kind: "histogram", labelHead: "Took", labelFormat: range, axisLabel: (bucket) => short(bucket.from_ms), format: (value) => number(value), axisFormat: compact });
  }

  show(total) {
    const measured = total[this.name];
    const isEmpty = measured.generations === 0;
    if (!isEmpty) {
      const filled = between(measured.buckets);
      this.chart.labels = filled;
      this.chart.series = [{ label: "Generations", values: filled.map((bucket) => bucket.generations) }];
    }
    const figures = PERCENTILES.map((one) => h("div", null, h("dt", { title: `${one.slice(1)} of a hundred take less` }, one), h("dd", null, duration(measured[`${one}_ms`]))));
    const about = isEmpty ? `Nothing of this kind. ${this.about}` : this.about;
    return h("div", { class: "card usage-histogram" }, isEmpty ? h("h3", null, this.caption) : this.chart, h("dl", { class: "usage-percentiles" }, figures), h("p", { class: "small muted" }, about));
  }
}

function range({ from_ms: from, to_ms: to }) {
  return to === null ? `${short(from)} or more` : `${short(from)} – ${short(to)}`;
}

// A bound is a tenth of a decade: two digits are enough to know it by.
function short(ms) {
  const value = Number(Number(ms).toPrecision(2));
  return value < 1000 ? `${number(value, 3)} ms` : duration(value);
}

// Buckets are a tenth of a decade each; those that are empty are not told, and stand between the others all the same.
function between(buckets) {
  const found = new Map(buckets.map((bucket) => [placeOf(bucket), bucket]));
  const first = placeOf(buckets[0]);
  const last = placeOf(buckets.at(-1));
  const bound = (place) => Number((10 ** (place / A_DECADE)).toPrecision(3));
  return Array.from({ length: last - first + 1 }, (_, at) => found.get(first + at) ?? { from_ms: bound(first + at), to_ms: bound(first + at + 1), generations: 0 });
}

function placeOf({ from_ms: from, to_ms: to }) {
  return from === 0 ? Math.round(A_DECADE * Math.log10(to)) - 1 : Math.round(A_DECADE * Math.log10(from));
}
