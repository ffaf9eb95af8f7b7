// The last generations, a page at a time; each opens with all that the ledger knows of it.

import { dataTable } from "../../components/data-table.js";
import { failure, loading } from "../../components/empty-state.js";
import { address } from "../../lib/address.js";
import { json } from "../../lib/api.js";
import { h, replace } from "../../lib/element.js";
import { duration, number, timeNode } from "../../lib/format.js";
import { setParams } from "../../lib/router.js";
import { exportLink } from "./downloads.js";
import { chosen, isAll, questions, route } from "./state.js";
import { outcome, told } from "./words.js";

/** The section; `show(state, answer)` begins anew. */
export class Newest {
  #asking;
  #state = null;
  #rows = null;
  #next = null;
  #table = null;

  constructor(asking) {
    this.#asking = asking;
    this.failed = h("input", { type: "checkbox", onchange: () => setParams({ failed: this.failed.checked ? "1" : null }) });
    const input = h("input", { type: "search", class: "input", "aria-label": "Find a generation by its request id", placeholder: "Find a request id", autocomplete: "off", spellcheck: "false" });
    this.finder = h("form", { class: "usage-find", onsubmit: (event) => find(event, input) }, input);
    this.check = h("label", { class: "check small" }, this.failed, "Only what failed");
    this.file = exportLink();
    const actions = h("div", { class: "row" }, this.finder, this.check, this.file);
    this.head = h("div", { class: "card-head row apart" }, h("h2", { id: "usage-newest" }, "Last generations"), actions);
    this.body = h("div", null);
    this.node = h("section", { class: "card flush usage-newest usage-dense", "aria-labelledby": "usage-newest" }, this.head, this.body);
  }

  wait(state) {
    this.#state = state;
    this.failed.checked = state.failed;
    this.check.hidden = Boolean(state.filters.outcome);
    this.file.href = address(route("/export"), chosen(state));
    this.body.setAttribute("aria-busy", "true");
    if (!this.#rows) replace(this.body, loading());
  }

  fail(error, again) {
    this.#rows = null;
    this.body.removeAttribute("aria-busy");
    replace(this.body, failure(error, { title: "Generations cannot be listed", level: 3, again }));
  }

  show(state, { generations, next }) {
    this.#state = state;
    this.#rows = generations;
    this.#next = next;
    this.body.removeAttribute("aria-busy");
    this.#table = dataTable({
      caption: "Generations, newest first",
      captionHidden: true,
      columns: columns(),
      rows: generations,
      empty: state.failed ? "Nothing failed." : "Nothing was generated.",
    });
    replace(this.body, this.#table, this.#more());
  }

  /** The keys of those that are shown: [[id, name], …]. */
  get keys() {
    return (this.#rows ?? []).map((row) => [row.key, row.name]);
  }

  /** One of those that are shown, by its id. */
  find(id) {
    return this.#rows?.find((row) => row.id === id) ?? null;
  }

  #more() {
    if (!this.#next) return null;
    const button = h("button", { type: "button", class: "button small", onclick: () => this.#older(button) }, "Show older ones");
    return h("div", { class: "usage-more" }, button);
  }

  #older(button) {
    button.disabled = true;
    const query = { ...questions.newest(this.#state), after: this.#next };
    this.#asking.ask(
      "newest",
      (signal) => json("GET", route("/generations"), { query, signal }),
      ({ generations, next }) => {
        this.#rows = [...this.#rows, ...generations];
        this.#next = next;
        this.#table.rows = this.#rows;
        button.parentElement.replaceWith(this.#more() ?? "");
        this.body.querySelector(".usage-more button")?.focus();
      },
      (error) => replace(button.parentElement, failure(error, { title: "Older ones cannot be listed", level: 3, again: () => this.#older(button) })),
    );
  }
}

const BRIEF = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "numeric", minute: "2-digit", second: "2-digit" });
const brief = (value) => BRIEF.format(new Date(value));

function who(row) {
  const user = row.end_user && told("end_user", row.end_user);
  if (!isAll()) return user || "–";
  return [told("key", row.key, row.name), user && h("span", { class: "usage-second small muted" }, user)];
}

// Whoever was told of a failure has its request's id, of whatever day.
function find(event, input) {
  event.preventDefault();
  const id = input.value.trim();
  if (id) setParams({ generation: id }, { replace: false });
}

function columns() {
  const open = (row) => h("button", { type: "button", class: "link", dataset: { id: row.id }, onclick: () => setParams({ generation: row.id }, { replace: false }) }, timeNode(row.started_at, brief));
  const all = [
    { key: "started_at", label: "Started", header: true, sort: false, cell: open },
    { key: "outcome", label: "Outcome", sort: false, cell: (row) => outcome(row.outcome) },
    { key: "model", label: "Model", sort: false, cell: (row) => told("model", row.model) },
    { key: "who", label: isAll() ? "Key and end user" : "End user", sort: false, cell: who },
    { key: "tokens", label: "Tokens", align: "end", sort: false, cell: (row) => number(row.total_tokens) },
    { key: "first", label: "First token", align: "end", sort: false, cell: (row) => duration(row.streamed === false ? null : row.first_byte_ms) },
    { key: "total_ms", label: "Whole", align: "end", sort: false, cell: (row) => duration(row.total_ms) },
    { key: "request_id", label: "Request", sort: false, cell: (row) => h("span", { class: "usage-id mono", title: row.request_id }, row.request_id) },
  ];
  return all.filter(Boolean);
}
