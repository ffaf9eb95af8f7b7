// The system prompt and every parameter, in groups; only what was filled in is sent.

import { field, select } from "../../components/form-field.js";
import { h, replace } from "../../lib/element.js";
import { icon } from "../../lib/icons.js";
import { EXAMPLE_TOOLS, GROUPS, countSet } from "./settings.js";

/** <play-settings>: `.settings` (what was typed, by name), `.faults`; tells of "change". */
export class PlaySettings extends HTMLElement {
  #fields = new Map();
  #counts = [];
  settings = {};

  connectedCallback() {
    const system = field("System prompt", h("textarea", { class: "input", rows: 3, placeholder: "You answer in one sentence.", ".value": this.settings.system ?? "" }), { wide: true });
    system.control.addEventListener("input", () => this.#set("system", system.control.value));
    this.reset = h("button", { type: "button", class: "button plain small", onclick: () => this.#clear() }, icon("refresh", { size: 16 }), "Reset all");
    this.#fields.set("system", system);
    replace(this, system, GROUPS.map((group) => this.#group(group)), h("div", { class: "actions settings-foot" }, h("p", { class: "muted small" }, "What is empty is not sent."), this.reset));
    this.#count();
  }

  /** Show what is wrong, {name: why}, and go to the first. */
  set faults(faults) {
    for (const [name, one] of this.#fields) one.error = faults[name] ?? null;
    const first = [...this.#fields].find(([name]) => faults[name])?.[1];
    if (!first) return;
    first.closest("details.group")?.setAttribute("open", "");
    first.control.focus();
  }

  #group(group) {
    const badge = h("span", { class: "badge accent", hidden: true });
    this.#counts.push([group.fields, badge]);
    const fields = group.fields.map((one) => this.#field(one));
    const example = group.title === "Tools" && h("button", { type: "button", class: "button small", onclick: () => this.#fill("tools", EXAMPLE_TOOLS) }, icon("plus", { size: 16 }), "Insert an example");
    const isOpen = group.open || countSet(this.settings, group.fields) > 0;
    return h("details", { class: "group", open: isOpen }, h("summary", null, h("span", null, group.title), badge), h("div", { class: "group-fields" }, fields, example));
  }

  #field(one) {
    const control = makeControl(one, this.settings[one.name] ?? "");
    const label = h("code", null, one.name);
    const made = field(label, control, { help: one.help, wide: one.wide });
    made.hidden = Boolean(one.needs) && this.settings[one.needs[0]] !== one.needs[1];
    control.addEventListener(one.kind === "choice" ? "change" : "input", () => this.#set(one.name, control.value));
    this.#fields.set(one.name, made);
    return made;
  }

  #set(name, value) {
    this.settings[name] = value;
    this.#fields.get(name).error = null;
    this.#count();
    this.dispatchEvent(new CustomEvent("change"));
  }

  #fill(name, text) {
    const { control } = this.#fields.get(name);
    control.value = text;
    this.#set(name, text);
    control.focus();
  }

  #clear() {
    for (const name of Object.keys(this.settings)) delete this.settings[name];
    for (const [name, one] of this.#fields) {
      one.control.value = "";
      one.error = null;
      if (name === "schema") one.hidden = true;
    }
    this.#count();
    this.dispatchEvent(new CustomEvent("change"));
  }

  #count() {
    for (const [fields, badge] of this.#counts) {
      const count = countSet(this.settings, fields);
      badge.hidden = count === 0;
      badge.textContent = `${count} set`;
    }
    this.#fields.get("schema").hidden = this.settings.format !== "schema";
    this.reset.disabled = countSet(this.settings) === 0 && !this.settings.system;
  }
}
customElements.define("play-settings", PlaySettings);

function makeControl({ kind, step, choices, rows = 3, placeholder = null }, value) {
  if (kind === "choice") return select(choices, { value });
  const isLong = kind === "json" || kind === "lines";
  if (isLong) return h("textarea", { class: "input mono", rows, placeholder, spellcheck: "false", ".value": value });
  const mode = kind === "text" ? {} : { inputmode: kind === "whole" ? "numeric" : "decimal" };
  return h("input", { class: "input", ...mode, autocomplete: "off", placeholder: placeholder ?? "default", dataset: step ? { step } : {}, ".value": value });
}
