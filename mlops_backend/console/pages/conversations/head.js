// The head of a conversation: its title, and what is done with it as a whole.

import { confirm } from "../../components/confirm-dialog.js";
import { toast } from "../../components/toast-list.js";
import { h, hidden, replace, uniqueId } from "../../lib/element.js";
import { icon } from "../../lib/icons.js";
import * as store from "./store.js";

/** <reading-head>: `.about` = {id, title}, `.title`. Tells of "renamed" ({title, version}) and "deleted" (the id). */
export class ReadingHead extends HTMLElement {
  #id = null;
  #title = "";

  connectedCallback() {
    this.#draw();
  }

  set about({ id, title }) {
    this.#id = id;
    this.#title = title;
    if (this.isConnected) this.#draw();
  }

  set title(title) {
    this.#title = title;
    const heading = this.querySelector("h2");
    if (heading) heading.textContent = title || "Untitled";
  }

  #draw() {
    const back = h("a", { class: "back", href: "#/conversations" }, icon("chevron", { size: 16 }), "All conversations");
    const actions = this.#id && [
      h("button", { type: "button", class: "button small", onclick: () => this.#rename() }, icon("pencil", { size: 16 }), "Rename"),
      this.#download("markdown", "Markdown"),
      this.#download("json", "JSON"),
      h("button", { type: "button", class: "button small danger-quiet", onclick: () => this.#delete() }, icon("trash", { size: 16 }), "Delete"),
    ];
    replace(this, back, h("h2", null, this.#title || "Untitled"), h("div", { class: "actions" }, actions));
  }

  #download(format, text) {
    const label = `Download as ${text}`;
    return h("a", { class: "button small", href: store.exportAddress(format, this.#id), download: true, "aria-label": label, title: label }, icon("download", { size: 16 }), text);
  }

  #rename() {
    const id = uniqueId("title");
    const input = h("input", { id, class: "input", maxlength: 200, required: true, ".value": this.#title });
    const done = () => {
      this.#draw();
      this.querySelector("button").focus();
    };
    const submit = (event) => {
      event.preventDefault();
      this.#take(input.value.trim(), done);
    };
    const buttons = [h("button", { class: "button primary small" }, "Rename"), h("button", { type: "button", class: "button small", onclick: done }, "Cancel")];
    replace(this, h("form", { class: "rename", onsubmit: submit, onkeydown: ({ key }) => key === "Escape" && done() }, h("label", { for: id }, hidden("Title")), input, buttons));
    input.select();
  }

  async #take(wanted, done) {
    try {
      const { title, version } = await store.rename(this.#id, wanted);
      this.#title = title;
      done();
      this.dispatchEvent(new CustomEvent("renamed", { detail: { title, version } }));
    } catch (error) {
      toast(error.message, { kind: "danger" });
    }
  }

  async #delete() {
    const content = h("p", null, "“", h("strong", null, this.#title || "Untitled"), "” is deleted for good, with its images.");
    if (!(await confirm({ title: "Delete this conversation?", content, action: "Delete", danger: true }))) return;
    try {
      await store.remove(this.#id);
      toast("Deleted.", { kind: "success" });
      this.dispatchEvent(new CustomEvent("deleted", { detail: this.#id }));
    } catch (error) {
      toast(error.message, { kind: "danger" });
    }
  }
}
customElements.define("reading-head", ReadingHead);
