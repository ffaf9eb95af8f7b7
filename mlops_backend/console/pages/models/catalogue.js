// What is known of the models, put together from the lists, from where they are, and from each one's own description.

import { json } from "../../lib/api.js";
import { may, session } from "../../lib/session.js";

const AT_ONCE = 3;
// Of more models the details alone tell the context.
const MOST_ASKED = 200;
// Descriptions by name and digest; a model that is made anew has another one.
const described = new Map();

/** The models; `changed` is called when more is known of one. */
export class Catalogue {
  models = [];
  backends = [];
  partial = [];
  changed = () => {};
  #loaded = new Map();
  #queue = [];
  #asking = 0;

  /** Ask for the lists anew. Throws ApiError where no backend tells any. */
  async load() {
    const [list, health, desk] = await Promise.all([
      json("GET", "/api/llm/models"),
      json("GET", "/api/llm/health").catch(() => null),
      session().admin ? json("GET", "/api/admin/backends").catch(() => null) : null,
    ]);
    const names = new Map((desk?.backends ?? []).map((one) => [one.url, one.name]));
    this.backends = (health?.backends ?? []).map((one) => ({ ...one, name: names.get(one.url) ?? shortOf(one.url) }));
    this.partial = list.unreachable ?? [];
    this.models = list.models.map((model) => this.#row(model));
  }

  /** Hear which are loaded. */
  loaded(told) {
    this.#loaded = new Map(told.map((one) => [one.name, one.loaded]));
    for (const model of this.models) model.loaded = this.#loaded.get(model.name) ?? false;
  }

  /** Whether models can be pulled: they go to the first backend, which has to be an Ollama. */
  get takesPulls() {
    return !this.backends.length || this.backends[0].kind === "ollama";
  }

  /** What a model says of itself: `null` while nobody knows; asked for when somebody looks at it, of not too many. */
  description(model) {
    const name = keyOf(model);
    if (!described.has(name) && this.models.length <= MOST_ASKED) {
      described.set(name, null);
      this.#queue.push(model);
      this.#next();
    }
    return described.get(name) ?? null;
  }

  /** Ask no more. */
  stop() {
    this.#queue.forEach((model) => described.delete(keyOf(model)));
    this.#queue = [];
  }

  #row(model) {
    const { details = {} } = model;
    const places = this.backends.filter((one) => one.models.includes(model.name));
    return {
      ...model,
      size: model.size || null, // what a server does not tell is 0, and 1970
      modified_at: Date.parse(model.modified_at) > 0 ? model.modified_at : null,
      family: details.family ?? "",
      parameters: details.parameter_size ?? "",
      quantisation: details.quantization_level ?? "",
      format: details.format ?? "",
      places,
      loaded: this.#loaded.get(model.name) ?? false,
    };
  }

  async #next() {
    if (this.#asking >= AT_ONCE || !this.#queue.length) return;
    const model = this.#queue.shift();
    this.#asking += 1;
    const told = await json("POST", "/api/show", { body: { model: model.name } }).catch((error) => ({ error: error.message }));
    described.set(keyOf(model), told);
    this.#asking -= 1;
    this.changed();
    this.#next();
  }
}

/** How many tokens its context has, by its own description; `null` where it does not say. */
export function contextOf(description) {
  const info = description?.model_info ?? {};
  const name = Object.keys(info).find((one) => one.endsWith(".context_length"));
  return name ? info[name] : null;
}

/** Whether anything can be changed. */
export function mayChange() {
  return may("models:write");
}

function keyOf(model) {
  return `${model.name} ${model.digest ?? ""} ${model.modified_at ?? ""}`;
}

function shortOf(url) {
  return url.replace(/^https?:\/\//, "");
}
