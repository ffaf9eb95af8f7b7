// Five limits, each of its own, of the service, or none: in the API's own words.

import { h, set, uniqueId } from "../../lib/element.js";
import { LIMITS } from "./words.js";

const OWN = "own";

/** Fields of limits; `hasDefault`: what is left out is the service's default, else no limit. */
export function limitFields(before, { hasDefault }) {
  const rows = LIMITS.map((limit) => new LimitRow(limit, before, hasDefault));
  return {
    node: h("div", { class: "limit-rows" }, rows.map((row) => row.node)),
    value: () => Object.assign({}, ...rows.map((row) => row.value())),
    fail: (name, text) => Boolean(rows.find((row) => row.limit.name === name)?.fail(text)),
    clear: () => rows.forEach((row) => row.fail("")),
  };
}

class LimitRow {
  constructor(limit, before, hasDefault) {
    this.limit = limit;
    const present = before[limit.name];
    const isOwn = present !== undefined && present !== null;
    const kind = isOwn ? OWN : limit.name in before || !hasDefault ? "none" : "default";
    const choices = [hasDefault && ["default", "Default"], ["none", "No limit"], [OWN, "Limit"]].filter(Boolean);
    const id = uniqueId("limit");
    this.input = h("input", { id, class: "input", placeholder: limit.example, inputmode: limit.isRate ? "text" : "numeric", autocomplete: "off", "aria-describedby": `${id}-help ${id}-error`, ".value": isOwn ? String(present) : "" });
    this.kind = h("select", { class: "input select", "aria-label": `${limit.label}: which`, onchange: () => this.#follow(true) }, choices.map(([value, text]) => h("option", { value, ".selected": value === kind }, text)));
    this.error = h("p", { id: `${id}-error`, class: "field-error", hidden: true });
    this.node = h("div", { class: "limit-row field" }, h("label", { for: id }, limit.label), this.kind, this.input, h("p", { id: `${id}-help`, class: "muted small" }, limit.help), this.error);
    this.#follow(false);
  }

  #follow(isChosen) {
    this.input.disabled = this.kind.value !== OWN;
    if (isChosen && !this.input.disabled) this.input.focus();
  }

  /** What goes into the body: nothing for the default, null for none. */
  value() {
    const { name, isRate } = this.limit;
    const text = this.input.value.trim();
    if (this.kind.value === "default" || (this.kind.value === "none" && this.kind.options.length < 3)) return {};
    if (this.kind.value === "none") return { [name]: null };
    const digits = text.replaceAll(/[,_\s]/g, "");
    return { [name]: isRate || !/^\d+$/.test(digits) ? text : Number(digits) };
  }

  fail(text) {
    this.error.textContent = text;
    this.error.hidden = !text;
    this.node.classList.toggle("invalid", Boolean(text));
    set(this.input, { "aria-invalid": text ? "true" : null });
    return true;
  }
}
