// What is looked at: how far back, told apart by what, and which generations. Nothing is asked while somebody types.

import { field, select } from "../../components/form-field.js";
import { json } from "../../lib/api.js";
import { h, replace, set, uniqueId } from "../../lib/element.js";
import { icon } from "../../lib/icons.js";
import { setParams } from "../../lib/router.js";
import { addDays, INTERVALS, fits, SPANS } from "./spans.js";
import { dimensions, FILTERS, isAll, nameOf, OUTCOMES } from "./state.js";
import { label, words } from "./words.js";

const PAUSE = 300;
const SUGGESTED = 20;

/** The bar above the page; `update(state, now)` shows what a state says. */
export class Filters {
  #names = new Map();
  #timer = 0;
  #typed = null;
  #lists = [];
  #state = null;

  constructor() {
    this.span = segments("Span", SPANS, (value) => this.#setSpan(value));
    this.from = dateInput(() => this.#setDays());
    this.to = dateInput(() => this.#setDays());
    this.days = h("div", { class: "usage-days row", hidden: true }, labelled("From", this.from), labelled("To", this.to));
    this.by = select([...dimensions().map(([name, text]) => [name, text]), ["none", "Nothing"]], { onchange: () => setParams({ by: this.by.value }) });
    this.interval = select(INTERVALS.map(([name, text]) => [name, text]), { onchange: () => setParams({ interval: this.interval.value }) });
    this.inputs = Object.fromEntries(FILTERS.filter((name) => name !== "key" || isAll()).map((name) => [name, this.#input(name)]));
    this.chips = h("ul", { class: "usage-chips row", "aria-label": "Filters" });
    this.count = h("span", null, "Filters");
    const fields = Object.entries(this.inputs).map(([name, input]) => field(nameOf(name), input));
    const form = h("form", { class: "fields", onsubmit: (event) => this.#submit(event) }, fields, h("button", { class: "visually-hidden", type: "submit", tabindex: "-1" }, "Apply"));
    this.details = h("details", { class: "usage-filters" }, h("summary", null, icon("filter", { size: 16 }), this.count), form);
    this.node = h(
      "section",
      { class: "usage-bar stack", "aria-label": "What is looked at" },
      h("div", { class: "row apart" }, this.span, h("div", { class: "row" }, labelled("Tell apart by", this.by), labelled("each", this.interval))),
      this.days,
      h("div", { class: "row" }, this.details, this.chips),
      h("div", { hidden: true }, this.#lists),
    );
  }

  /** Learn what keys are called. */
  learn(names) {
    for (const [id, name] of names) this.#names.set(id, name);
  }

  /** Offer values that were seen. */
  suggest(dimension, values) {
    const list = this.inputs[dimension]?.list;
    if (list && dimension !== "key") replace(list, values.filter(Boolean).slice(0, SUGGESTED).map((value) => h("option", { value })));
  }

  update(state, now) {
    this.#state = state;
    for (const input of this.span.querySelectorAll("input")) input.checked = input.value === state.span.name;
    this.days.hidden = state.span.name !== "custom";
    this.from.value = state.span.first ?? now.day;
    this.to.value = state.span.last ?? now.day;
    this.by.value = state.by ?? "none";
    this.interval.value = state.interval;
    for (const option of this.interval.options) option.disabled = !fits(option.value, state.span.hours);
    for (const [name, input] of Object.entries(this.inputs)) if (input !== document.activeElement) input.value = state.filters[name] ?? "";
    this.#chip(state.filters);
  }

  #chip(filters) {
    const chosen = Object.entries(filters);
    this.count.textContent = chosen.length ? `Filters (${chosen.length})` : "Filters";
    const chip = ([name, value]) => {
      const text = `${nameOf(name)}: ${label(name, value, this.#names.get(value))}`;
      return h("li", null, h("button", { type: "button", class: "usage-chip", title: value, "aria-label": `Remove ${text}`, onclick: () => this.#remove(name) }, text, icon("close", { size: 14 })));
    };
    replace(this.chips, chosen.map(chip));
  }

  // The focus stays among the filters, not on a button that is gone.
  #remove(name) {
    setParams({ [name]: null }, { replace: false });
    (this.chips.querySelector("button") ?? this.details.querySelector("summary")).focus();
  }

  #setSpan(value) {
    if (value !== "custom") return setParams({ span: value === "7d" ? null : value, from: null, to: null, interval: null }, { replace: false });
    return setParams({ span: value, from: this.#state.span.first ?? addDays(this.to.value, -1), to: this.to.value, interval: null }, { replace: false });
  }

  #setDays() {
    if (this.from.value && this.to.value) setParams({ span: "custom", from: this.from.value, to: this.to.value, interval: null });
  }

  #input(name) {
    const apply = () => setParams({ [name]: input.value.trim() }, { replace: false });
    if (name === "outcome") {
      const options = [["", "Any"], ...OUTCOMES.map((one) => [one, words(one)])];
      const input = select(options, { onchange: () => setParams({ [name]: input.value }, { replace: false }) });
      return input;
    }
    const list = h("datalist", { id: uniqueId("values") });
    const props = { class: "input", list: list.id, autocomplete: "off", autocapitalize: "none", spellcheck: "false", placeholder: name === "key" ? "Name or id" : "Any" };
    const input = set(h("input", props), { onchange: () => (name === "key" ? this.#setKey(input) : apply()) });
    this.#lists.push(list);
    if (name === "key") input.addEventListener("input", () => this.#lookUp(input, list));
    return input;
  }

  // Names are looked up when somebody has stopped typing, and only the last word counts.
  #lookUp(input, list) {
    clearTimeout(this.#timer);
    this.#typed?.abort();
    const text = input.value.trim();
    if (!text || this.#names.has(text)) return;
    this.#timer = setTimeout(async () => {
      const control = (this.#typed = new AbortController());
      const found = await json("GET", "/api/admin/keys", { query: { name: text, limit: SUGGESTED, revoked: "true" }, signal: control.signal }).catch(() => null);
      if (control.signal.aborted || !found) return;
      this.learn(found.keys.map(({ id, name }) => [id, name]));
      replace(list, found.keys.map(({ id, name }) => h("option", { value: id }, name)));
    }, PAUSE);
  }

  /** Somebody may have written a name: of several keys of that name the first. */
  #setKey(input) {
    const text = input.value.trim();
    const [id] = [...this.#names].find(([one, name]) => one !== text && name === text) ?? [text];
    setParams({ key: id }, { replace: false });
  }

  #submit(event) {
    event.preventDefault();
    document.activeElement?.dispatchEvent(new Event("change", { bubbles: true }));
  }

  /** Look for nothing any more. */
  end() {
    clearTimeout(this.#timer);
    this.#typed?.abort();
  }
}

/** A choice of a few, side by side. */
export function segments(name, options, chosen, value = null) {
  const group = uniqueId("choice");
  const one = ([key, text]) =>
    h("label", { class: "segment" }, h("input", { type: "radio", name: group, value: key, ".checked": key === value, onchange: () => chosen(key) }), h("span", null, text));
  return h("div", { class: "segments", role: "radiogroup", "aria-label": name }, options.map(one));
}

function labelled(text, control) {
  control.id ||= uniqueId("field");
  return h("span", { class: "row usage-labelled" }, h("label", { for: control.id, class: "small muted" }, text), control);
}

function dateInput(changed) {
  return h("input", { type: "date", class: "input", onchange: changed });
}
