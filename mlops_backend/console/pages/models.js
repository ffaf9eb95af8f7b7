// Models: what there is, where it is, what is loaded; pulled, copied, unloaded and deleted by who may.

import { failure, loading } from "../components/empty-state.js";
import { liveState } from "../components/live-state.js";
import { pageHeader } from "../components/page-header.js";
import { h, replace } from "../lib/element.js";
import { icon } from "../lib/icons.js";
import { live } from "../lib/live.js";
import { setParams } from "../lib/router.js";
import { may } from "../lib/session.js";
import { useStyles } from "../lib/styles.js";
import { askForPull } from "./models/pull-dialog.js";
import { pullList } from "./models/pull-list.js";
import { Catalogue } from "./models/catalogue.js";
import { modelTable } from "./models/table.js";

export default class ModelsPage extends HTMLElement {
  #catalogue = new Catalogue();
  #stops = [];
  #table = null;
  #pulls = null;
  #names = null;
  #search = null;
  #place = null;
  #pull = null;

  async connectedCallback() {
    await Promise.all([useStyles("operations.css"), useStyles("models.css")]);
    if (!this.isConnected || this.firstChild) return;
    this.className = "stack models";
    this.#table = modelTable(this.#catalogue);
    this.#pulls = pullList(() => this.#load());
    this.#search = h("input", { class: "input", type: "search", placeholder: "Filter models", "aria-label": "Filter models", value: this.params?.get("q") ?? "", oninput: () => setParams({ q: this.#search.value }) });
    this.#place = h("div", { class: "card flush" }, loading());
    this.#pull = h("button", { type: "button", class: "button primary", hidden: true, onclick: () => askForPull() }, icon("download"), "Pull a model");
    this.append(
      pageHeader("Models", { description: "What the backends have, and what is in their memory now.", actions: [liveState(), this.#pull] }),
      this.#pulls.node,
      h("div", { class: "row apart" }, h("div", { class: "models-search" }, this.#search), this.#table.summary),
      this.#place,
    );
    this.#hear();
    await this.#load();
  }

  disconnectedCallback() {
    this.#stops.forEach((stop) => stop());
    this.#stops = [];
    this.#pulls?.stop();
    this.#catalogue.stop();
    this.#names = null;
    this.replaceChildren();
  }

  paramsChanged() {
    const filter = this.params.get("q") ?? "";
    if (this.#search && this.#search.value !== filter) this.#search.value = filter;
    this.#table?.filter(filter);
  }

  // What is loaded changes as it is told; the rest is asked for again when another model is there.
  #hear() {
    this.#stops.push(
      live("models", (told) => {
        this.#catalogue.loaded(told.models);
        this.#table.draw();
        const names = JSON.stringify(told.models.map((model) => [model.name, model.digest]));
        if (this.#names !== null && this.#names !== names) this.#load();
        this.#names = names;
      }),
    );
    this.#catalogue.changed = () => this.#table.draw();
  }

  async #load() {
    try {
      await this.#catalogue.load();
      if (!this.isConnected) return;
      this.#pull.hidden = !(may("models:write") && this.#catalogue.takesPulls);
      if (this.#table.node.parentNode !== this.#place) replace(this.#place, this.#table.node);
      this.#table.filter(this.params?.get("q") ?? "");
    } catch (error) {
      if (this.isConnected) replace(this.#place, failure(error, { title: "No backend tells its models", again: () => this.#load() }));
    }
  }
}
