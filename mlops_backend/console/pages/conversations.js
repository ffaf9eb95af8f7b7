// Stored conversations: found, read, gone on in, renamed, taken out and brought in, deleted.

import { empty } from "../components/empty-state.js";
import { pageHeader } from "../components/page-header.js";
import { toast } from "../components/toast-list.js";
import { h, replace } from "../lib/element.js";
import { icon } from "../lib/icons.js";
import { go, hash, setParams } from "../lib/router.js";
import { useStyles } from "../lib/styles.js";
import "./conversations/list.js";
import "./conversations/reading.js";
import { exportAddress, importFile } from "./conversations/store.js";
import { listModels } from "./playground/models.js";

const NEW = "new";

export default class Conversations extends HTMLElement {
  params = new URLSearchParams();
  #opened = null;
  #search = null;

  async connectedCallback() {
    const styles = Promise.all([useStyles("playground.css"), useStyles("conversations.css")]);
    const models = listModels().catch(() => []);
    await styles;
    this.list = h("conversation-list", { onsought: ({ detail }) => setParams({ search: detail, message: null }, { replace: false }), onlisted: ({ detail }) => this.#listed(detail) });
    this.reading = h("conversation-reading", { onchanged: () => this.list.refresh(), onmade: ({ detail }) => this.#made(detail), ondeleted: () => this.#deleted() });
    this.place = h("div", { class: "reading-place" });
    replace(this, this.#header(), h("div", { class: "conversations" }, this.list, this.place));
    this.reading.models = (await models) ?? [];
    this.paramsChanged();
  }

  paramsChanged() {
    if (!this.list) return;
    const search = this.params.get("search") ?? "";
    if (search !== this.#search) this.list.find(search);
    this.#search = search;
    this.#open(this.params.get("id"), this.params.get("message"));
  }

  #header() {
    this.file = h("input", { type: "file", accept: "application/json,.json", hidden: true, onchange: () => this.#import() });
    const actions = [
      h("a", { class: "button primary", href: hash("/conversations", { id: NEW }) }, icon("plus"), "New"),
      h("button", { type: "button", class: "button", onclick: () => this.file.click() }, icon("send"), "Import"),
      h("a", { class: "button", href: exportAddress("json"), download: true }, icon("download"), "Export all"),
      this.file,
    ];
    return pageHeader("Conversations", { description: "What you keep. Only your key sees them.", actions });
  }

  #open(id, message) {
    this.classList.toggle("is-open", Boolean(id));
    this.list.selected = id;
    if (id && id === this.#opened) {
      if (message) this.reading.goTo(message);
      return;
    }
    this.#opened = id;
    if (!id) this.#nothing();
    else {
      replace(this.place, this.reading);
      if (id === NEW) this.reading.begin();
      else this.reading.open(id, message);
    }
  }

  #nothing() {
    const begin = h("a", { class: "button", href: hash("/playground") }, "Go to the playground");
    const text = "Choose one, begin a new one, or keep one that you had in the playground.";
    replace(this.place, empty("No conversation is open", text, { icon: "list", actions: begin }));
  }

  // The service makes a title of the first message.
  #listed({ conversations }) {
    const mine = conversations.find(({ id }) => id === this.#opened);
    if (mine) this.reading.title = mine.title;
  }

  #made(id) {
    this.#opened = id;
    setParams({ id, message: null });
    this.list.selected = id;
  }

  #deleted() {
    this.#opened = null;
    go("/conversations", { search: this.#search });
    this.list.refresh();
  }

  async #import() {
    const [file] = this.file.files;
    this.file.value = "";
    if (!file) return;
    try {
      const made = await importFile(file);
      toast(made.length === 1 ? "One conversation was imported." : `${made.length} conversations were imported.`, { kind: "success" });
      await this.list.refresh();
    } catch (error) {
      const [first] = error.details ?? [];
      toast(first ? `Nothing was imported. ${[first.loc].flat().join(".")}: ${first.msg}` : `Nothing was imported. ${error.message}`, { kind: "danger" });
    }
  }
}
