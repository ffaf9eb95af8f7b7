// Copies a text; says so.

import { h, replace } from "../lib/element.js";
import { icon } from "../lib/icons.js";
import { toast } from "./toast-list.js";

/** <copy-button>: `.text` (a string, or a function that makes it), `.label`. */
export class CopyButton extends HTMLElement {
  text = "";
  label = "Copy";
  compact = false;

  connectedCallback() {
    if (this.firstChild) return;
    const props = { type: "button", class: ["button", "plain", "small", this.compact && "icon-only"], onclick: () => this.#copy() };
    if (this.compact) props["aria-label"] = this.label;
    this.append(h("button", props, icon("copy", { size: 16 }), !this.compact && h("span", null, this.label)));
  }

  async #copy() {
    const text = typeof this.text === "function" ? this.text() : this.text;
    try {
      await put(text);
      this.#done();
    } catch {
      toast("The browser did not let it be copied.", { kind: "danger" });
    }
  }

  #done() {
    const button = this.firstChild;
    replace(button, icon("check", { size: 16 }), !this.compact && h("span", null, "Copied"));
    toast("Copied.", { kind: "success" });
    setTimeout(() => replace(button, icon("copy", { size: 16 }), !this.compact && h("span", null, this.label)), 2000);
  }
}
customElements.define("copy-button", CopyButton);

/** A button that copies this text. */
export function copyButton(text, { label = "Copy", compact = false } = {}) {
  return h("copy-button", { ".text": text, ".label": label, ".compact": compact });
}

// Over plain HTTP, which is no secure context, the clipboard is reached by a selection only.
async function put(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = h("textarea", { class: "visually-hidden", ".value": text });
  const before = document.activeElement;
  (before?.closest("dialog") ?? document.body).append(area);
  area.select();
  const isDone = document.execCommand("copy");
  area.remove();
  before?.focus();
  if (!isDone) throw new Error("not copied");
  return undefined;
}
