// Who used what, what it cost and how long it took: all of it is in the address, so that a link shows the same.

import { failure, loading } from "../components/empty-state.js";
import { pageHeader } from "../components/page-header.js";
import { json } from "../lib/api.js";
import { h, replace } from "../lib/element.js";
import { icon } from "../lib/icons.js";
import { useStyles } from "../lib/styles.js";
import { Asking } from "./usage/asking.js";
import { Drawer } from "./usage/drawer.js";
import { Filters } from "./usage/filters.js";
import { Groups } from "./usage/groups.js";
import { Latency } from "./usage/latency.js";
import { Newest } from "./usage/newest.js";
import { present } from "./usage/spans.js";
import { isAll, questions, route, stateOf } from "./usage/state.js";
import { isPriced, Totals } from "./usage/totals.js";

export default class UsagePage extends HTMLElement {
  params = new URLSearchParams();
  #asking = new Asking();
  #asked = new Map();
  #parts = null;
  #now = null;
  #state = null;
  #total = null;
  #before = null;
  #again = null;
  #place = null;

  // The head stays as it is: the focus may be on it while everything else comes.
  async connectedCallback() {
    const about = isAll() ? "Everybody's generations, as the ledger has them." : "The generations of your key, as the ledger has them.";
    this.#again = h("button", { type: "button", class: "button", disabled: true, onclick: () => this.#refresh() }, icon("refresh"), "Refresh");
    this.#place = h("div", { class: "stack" }, loading());
    replace(this, h("div", { class: "stack usage" }, pageHeader("Usage", { description: about, actions: this.#again }), this.#place));
    await useStyles("usage.css");
    this.#begin();
  }

  disconnectedCallback() {
    this.#asking.end();
    this.#parts?.filters.end();
  }

  paramsChanged() {
    if (this.#now) this.#update();
  }

  async #begin() {
    try {
      this.#now = await present(route());
    } catch (error) {
      if (this.isConnected) replace(this.#place, failure(error, { title: "Usage cannot be shown", again: () => this.#begin() }));
      return;
    }
    if (!this.isConnected) return;
    this.#build();
    this.#update();
  }

  #build() {
    const asking = this.#asking;
    const parts = { filters: new Filters(), totals: new Totals(), groups: new Groups(asking), latency: new Latency(), newest: new Newest(asking), drawer: new Drawer() };
    this.#parts = parts;
    const { filters, totals, groups, latency, newest, drawer } = parts;
    replace(this.#place, filters.node, totals.node, groups.chart, groups.table, latency.node, newest.node);
    this.append(drawer.node);
    this.#again.disabled = false;
  }

  async #refresh() {
    const now = await present(route()).catch(() => this.#now);
    this.#now = now;
    this.#asked.clear();
    this.#update();
  }

  #update() {
    const state = (this.#state = stateOf(this.params, this.#now));
    const { filters, groups, drawer, newest } = this.#parts;
    filters.update(state, this.#now);
    this.#ask("newest", route("/generations"), questions.newest(state), newest, () => this.#learn(newest.keys));
    const isNew = this.#askSums(state);
    if (!isNew) groups.draw(state, this.#isPriced());
    this.#ask("latency", route("/latency"), questions.latency(state), this.#parts.latency);
    if (state.generation) drawer.open(state.generation, newest.find(state.generation));
    else drawer.close();
  }

  // What is known of a question stays while another part of the address changes.
  #ask(name, path, query, part, shown = () => {}) {
    const state = this.#state;
    const show = (answer) => {
      part.show(state, answer);
      shown();
    };
    this.#askOnce(name, path, query, () => part.wait(state), show, (error) => part.fail(error, () => this.#askAgain(name)));
  }

  // A filter by a key shows its name as soon as that is known.
  #learn(names) {
    this.#parts.filters.learn(names);
    this.#parts.filters.update(this.#state, this.#now);
  }

  #askSums(state) {
    const { groups, totals, filters } = this.#parts;
    const show = (answer) => {
      this.#total = answer.total;
      const found = groups.show(state, answer);
      if (state.by) filters.suggest(state.by, found.map((group) => group.value));
      this.#learn(found.filter((group) => group.name).map((group) => [group.value, group.name]));
      this.#drawSums();
    };
    const fail = (error) => {
      this.#total = null;
      replace(totals.node);
      groups.fail(error, () => this.#askAgain("series"));
    };
    const compare = ({ total }) => {
      this.#before = total;
      this.#drawSums();
    };
    const isNew = this.#askOnce("series", route(), questions.series(state), () => groups.wait(state), show, fail);
    this.#askOnce("before", route(), questions.before(state), () => (this.#before = null), compare, () => this.#asked.delete("before"));
    return isNew;
  }

  #drawSums() {
    if (!this.#total) return;
    this.#parts.totals.show(this.#total, this.#before, this.#isPriced());
    this.#parts.groups.draw(this.#state, this.#isPriced());
  }

  #isPriced() {
    return isPriced(this.#total, this.#before);
  }

  #askOnce(name, path, query, wait, show, fail) {
    const text = JSON.stringify(query);
    if (this.#asked.get(name) === text) return false;
    this.#asked.set(name, text);
    wait();
    this.#asking.ask(name, (signal) => json("GET", path, { query, signal }), show, fail);
    return true;
  }

  #askAgain(name) {
    this.#asked.delete(name);
    this.#update();
  }
}
