// Which models there are for this key, which one is meant when nothing was chosen, and what one can do.

import { json } from "../../lib/api.js";
import { h, replace, uniqueId } from "../../lib/element.js";
import { compact } from "../../lib/format.js";
import { may, session } from "../../lib/session.js";

const known = new Map();

/** Names with a word about each, the likeliest first; null where the key may not ask, and a name has to be typed. */
export async function listModels() {
  if (!may("models:read")) return namedByKey();
  const [{ models }, loaded] = await Promise.all([json("GET", "/api/llm/models"), loadedNames()]);
  const seen = models.map(({ name, details }) => ({ name, size: details?.parameter_size ?? "", rank: rank(name, details, loaded) }));
  return seen.sort((one, other) => one.rank - other.rank || one.name.localeCompare(other.name));
}

/** What a model can do, as far as it is told: {capabilities, context}. */
export function abilities(model) {
  if (!known.has(model)) known.set(model, asked(model));
  return known.get(model);
}

async function asked(model) {
  try {
    const { capabilities = [], model_info: info = {} } = await json("POST", "/api/show", { body: { model } });
    const length = Object.entries(info).find(([name]) => name.endsWith(".context_length"))?.[1] ?? null;
    return { capabilities, context: length };
  } catch {
    known.delete(model);
    return { capabilities: [], context: null };
  }
}

// A key's own list may have patterns, which are no names.
function namedByKey() {
  const names = (session().models ?? []).filter((name) => !/[*?[]/.test(name));
  return names.length ? names.map((name) => ({ name, size: "", rank: 0 })) : null;
}

async function loadedNames() {
  try {
    return new Set((await json("GET", "/api/ps")).models.map(({ name }) => name));
  } catch {
    return new Set();
  }
}

function rank(name, details, loaded) {
  if (/embed|bge|minilm/i.test(name) || /bert/i.test(details?.family ?? "")) return 2;
  return loaded.has(name) ? 0 : 1;
}

/** <model-picker>: `.models` (null: a name is typed), `.value`, `.label`; tells of "change". */
export class ModelPicker extends HTMLElement {
  #value = "";
  models = null;
  label = "Model";

  connectedCallback() {
    const id = uniqueId("model");
    this.control = this.models ? this.#select(id) : this.#input(id);
    this.about = h("p", { class: "muted model-about" });
    replace(this, h("label", { for: id }, this.label), this.control, this.about);
    this.#tellAbout();
  }

  get value() {
    return this.#value;
  }

  set value(value) {
    this.#value = value;
    if (this.control) this.control.value = value;
  }

  #select(id) {
    const options = this.models.map(({ name, size }) => h("option", { value: name, ".selected": name === this.#value }, size ? `${name} · ${size}` : name));
    return h("select", { id, class: "input select", onchange: () => this.#chosen() }, options);
  }

  #input(id) {
    return h("input", { id, class: "input", ".value": this.#value, placeholder: "name:tag", spellcheck: "false", autocapitalize: "none", onchange: () => this.#chosen() });
  }

  #chosen() {
    this.#value = this.control.value.trim();
    this.#tellAbout();
    this.dispatchEvent(new CustomEvent("change"));
  }

  async #tellAbout() {
    const model = this.#value;
    if (!model || !this.models || !may("models:read")) return;
    const { capabilities, context } = await abilities(model);
    if (model !== this.#value) return;
    const can = capabilities.filter((name) => name !== "completion").map((name) => h("span", { class: "badge" }, name));
    replace(this.about, context && h("span", { title: String(context) }, `${compact(context)} tokens of context`), can);
  }
}
customElements.define("model-picker", ModelPicker);
