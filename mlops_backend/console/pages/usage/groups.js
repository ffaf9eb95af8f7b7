// Usage over time, told apart by something: a chart of the largest groups, and a table of as many as one likes.

import { dataTable } from "../../components/data-table.js";
import { empty, failure, loading } from "../../components/empty-state.js";
import { chart } from "../../components/x-chart.js";
import { json } from "../../lib/api.js";
import { h, replace } from "../../lib/element.js";
import { duration, money, number, percent } from "../../lib/format.js";
import { hash, setParams } from "../../lib/router.js";
import { may } from "../../lib/session.js";
import { segments } from "./filters.js";
import { tableDownload } from "./downloads.js";
import { placeOf, places } from "./spans.js";
import { FILTERS, MEASURES, nameOf, questions, route, TOP, valueOf } from "./state.js";
import { label, told, writing } from "./words.js";

const OTHER = 8;
const SHOWN = 100;
const SUMS = ["generations", "estimated", "prompt_tokens", "completion_tokens", "total_tokens", "total_ms"];

/** The chart and its table. `update(state)` asks; `priced(…)` says that money is worth a column. */
export class Groups {
  #asking;
  #answer = null;
  #state = null;
  #groups = [];
  #all = null;
  #hasMoney = false;
  #drawn = null;
  #isAsked = false;

  constructor(asking) {
    this.#asking = asking;
    this.choice = segments("What is measured", Object.entries(MEASURES), (value) => setParams({ measure: value }));
    this.body = h("div", { class: "stack" });
    this.chart = h("section", { class: "card usage-chart", "aria-label": "Over time" }, this.choice, this.body);
    this.table = h("section", { class: "card flush usage-groups", "aria-label": "Groups" });
  }

  /** Something is on its way. */
  wait(state) {
    this.#state = state;
    this.#all = null;
    this.#isAsked = true;
    if (!this.#answer) replace(this.body, loading());
    this.choice.hidden = !this.#answer;
    this.chart.setAttribute("aria-busy", "true");
    this.table.hidden = !this.#answer;
  }

  fail(error, again) {
    this.#answer = null;
    this.#isAsked = false;
    this.chart.removeAttribute("aria-busy");
    this.table.hidden = true;
    this.choice.hidden = true;
    replace(this.body, failure(error, { title: "Usage cannot be shown", again }));
  }

  /** Show an answer of the route; returns the values that are told apart. */
  show(state, answer) {
    this.#state = state;
    this.#answer = answer;
    this.#isAsked = false;
    this.#groups = state.by ? largest(answer.rows, state.by) : [];
    this.chart.removeAttribute("aria-busy");
    return this.#groups;
  }

  /** Draw, with or without money. */
  draw(state, hasMoney) {
    if (!this.#answer || this.#isAsked) return;
    this.#state = state;
    this.#hasMoney = hasMoney;
    this.#drawChart();
    this.#drawTable();
  }

  #measure() {
    const asked = this.#state.measure;
    if (asked in MEASURES && (asked !== "spend" || this.#hasMoney)) return asked;
    return this.#hasMoney ? "spend" : "tokens";
  }

  #drawChart() {
    const measure = this.#measure();
    const each = this.#state.interval;
    this.choice.hidden = this.#answer.total.generations === 0;
    if (this.choice.hidden) {
      return void replace(this.body, nothing(this.#state));
    }
    const grid = places(each, this.#answer);
    for (const input of this.choice.querySelectorAll("input")) {
      input.checked = input.value === measure;
      input.parentElement.hidden = input.value === "spend" && !this.#hasMoney;
    }
    this.#drawn ??= chart({ kind: "bars", level: 2 });
    Object.assign(this.#drawn, {
      caption: `${MEASURES[measure]} by ${each}${this.#state.by ? ` and ${nameOf(this.#state.by).toLowerCase()}` : ""}`,
      labels: grid.map((one) => one.label),
      labelHead: each[0].toUpperCase() + each.slice(1),
      ...writing[measure],
      series: this.#series(measure, new Map(grid.map((one, at) => [one.place, at])), grid.length),
    });
    const notes = [Date.parse(this.#answer.hourly_from) > Date.parse(this.#answer.from) && "Older days of this span are known as whole days, and not by hour.", this.#answer.truncated && "There is more than can be drawn: choose a shorter span."].filter(Boolean);
    if (!this.#drawn.isConnected) replace(this.body, this.#drawn);
    this.body.querySelectorAll(":scope > p").forEach((note) => note.remove());
    this.body.append(...notes.map((text) => h("p", { class: "small muted" }, text)));
    return undefined;
  }

  #series(measure, at, length) {
    const { interval, by } = this.#state;
    const filled = (rows, value) => {
      const values = new Array(length).fill(0);
      for (const row of rows) {
        const place = at.get(placeOf(interval, row.start));
        if (place !== undefined) values[place] += value(row);
      }
      return values;
    };
    const { rows } = this.#answer;
    if (!by && measure === "tokens") {
      return [["Prompt", "prompt_tokens"], ["Completion", "completion_tokens"]].map(([text, name]) => ({ label: text, values: filled(rows, (row) => row[name]) }));
    }
    const value = (row) => valueOf(measure, row);
    if (!by) return [{ label: MEASURES[measure], values: filled(rows, value) }];
    return this.#groups.map((group, place) => ({
      label: label(by, group.value, group.name),
      colour: group.value === null ? OTHER : place + 1,
      values: filled(rows.filter((row) => row[by] === group.value), value),
    }));
  }

  #drawTable() {
    const { by } = this.#state;
    this.table.hidden = !by || this.#answer.total.generations === 0;
    if (this.table.hidden) return;
    const value = (row) => valueOf(this.#measure(), row);
    const inOrder = (rows) => [...rows].sort((one, other) => (one.value === null) - (other.value === null) || value(other) - value(one));
    const rows = inOrder(this.#all?.rows.slice(0, this.#all.shown) ?? this.#groups);
    const title = h("h2", { tabindex: "-1" }, `By ${nameOf(by).toLowerCase()}`);
    const download = tableDownload(route(), () => questions.groups(this.#state), `usage-by-${by}.csv`);
    const table = dataTable({ caption: `Usage by ${nameOf(by).toLowerCase()}`, captionHidden: true, columns: this.#columns(), rows });
    const hadFocus = this.table.contains(document.activeElement);
    replace(this.table, h("div", { class: "card-head row apart" }, title, download), table, this.#more(rows));
    if (hadFocus) title.focus();
  }

  #columns() {
    const { by } = this.#state;
    const { total } = this.#answer;
    const share = (row) => row.total_tokens / total.total_tokens || 0;
    const columns = [
      { key: "value", label: nameOf(by), header: true, sort: (row) => row.name ?? row.value, cell: (row) => this.#link(row) },
      this.#hasMoney && { key: "price", label: "Spend", align: "end", sort: (row) => Number(row.price), cell: (row) => h("span", { title: row.price }, money(row.price)) },
      { key: "total_tokens", label: "Tokens", align: "end", cell: (row) => number(row.total_tokens) },
      { key: "share", label: "Share", align: "end", sort: share, cell: (row) => bar(share(row)) },
      { key: "prompt_tokens", label: "Prompt", align: "end", cell: (row) => number(row.prompt_tokens) },
      { key: "completion_tokens", label: "Completion", align: "end", cell: (row) => number(row.completion_tokens) },
      { key: "generations", label: "Generations", align: "end", cell: (row) => number(row.generations) },
      { key: "each", label: "Mean time", align: "end", sort: mean, cell: (row) => duration(mean(row)) },
    ];
    return columns.filter(Boolean);
  }

  // A group leads to its own figures; what has no name cannot be asked for by it.
  #link(row) {
    const { by } = this.#state;
    const text = told(by, row.value, row.name);
    if (!row.value || !FILTERS.includes(by) || this.#state.filters[by]) return text;
    const params = new URLSearchParams(location.hash.split("?")[1] ?? "");
    params.set(by, row.value);
    return h("a", { href: hash("/usage", params) }, text);
  }

  #more(rows) {
    const hasRest = !this.#all && rows.some((row) => row.value === null);
    const left = this.#all ? this.#all.rows.length - this.#all.shown : 0;
    const isCut = this.#all?.truncated && left <= 0;
    if (isCut) return h("p", { class: "usage-more small muted" }, `The ${number(rows.length)} with the most tokens are shown. A filter finds the others.`);
    if (!hasRest && left <= 0) return null;
    const text = hasRest ? "Show the others" : `Show ${number(Math.min(left, SHOWN))} more of ${number(left)}`;
    const button = h("button", { type: "button", class: "button small", onclick: () => (hasRest ? this.#askAll(button) : this.#showMore()) }, text);
    return h("div", { class: "usage-more" }, button);
  }

  #showMore() {
    this.#all.shown += SHOWN;
    this.#drawTable();
    (this.table.querySelector(".usage-more button") ?? this.table.querySelector(".table-scroll")).focus();
  }

  #askAll(button) {
    button.disabled = true;
    const state = this.#state;
    this.#asking.ask(
      "groups",
      (signal) => json("GET", route(), { query: questions.groups(state), signal }),
      ({ rows, truncated }) => {
        const all = rows.map((row) => ({ ...row, value: row[state.by] }));
        this.#all = { rows: all, truncated, shown: Math.max(SHOWN, TOP) };
        this.#drawTable();
        this.table.querySelector(".table-scroll")?.focus();
      },
      (error) => replace(button.parentElement, failure(error, { title: "The others cannot be shown", level: 3, again: () => this.#drawTable() })),
    );
  }
}

function nothing({ filters }) {
  if (Object.keys(filters).length) return empty("Nothing was generated", "There is no generation in this span that fits the filters.", { icon: "chart" });
  const go = may("inference") && h("a", { class: "button", href: hash("/playground") }, "Try a model");
  return empty("Nothing was generated", "There is no generation in this span. What ends now is here half a second later.", { icon: "chart", actions: [go].filter(Boolean) });
}

/** The groups of a series, each added up over time, the largest first and the rest as the last. */
function largest(rows, by) {
  const found = new Map();
  for (const row of rows) {
    const sum = found.get(row[by]) ?? { value: row[by], name: row.name ?? null, price: 0 };
    for (const name of SUMS) sum[name] = (sum[name] ?? 0) + row[name];
    sum.price += Number(row.price);
    found.set(row[by], sum);
  }
  return [...found.values()].sort((one, other) => (one.value === null) - (other.value === null) || other.total_tokens - one.total_tokens);
}

function mean(row) {
  return row.generations ? row.total_ms / row.generations : null;
}

function bar(share) {
  return h("span", { class: "usage-share" }, h("span", { class: "usage-share-bar", "aria-hidden": "true", style: { "--share": share } }), percent(share));
}
