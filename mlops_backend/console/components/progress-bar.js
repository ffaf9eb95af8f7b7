// How far something is, or that it is under way.

import { h } from "../lib/element.js";
import { percent } from "../lib/format.js";

/** <progress-bar>: `.value` from 0 to 1, or null while nobody knows; `.label` names it; `.text` stands beside it. */
export class ProgressBar extends HTMLElement {
  #value = null;
  #text = "";
  label = "Progress";

  connectedCallback() {
    this.setAttribute("role", "progressbar");
    this.setAttribute("aria-label", this.label);
    this.setAttribute("aria-valuemin", "0");
    this.setAttribute("aria-valuemax", "100");
    if (!this.firstChild) this.append(h("span", { class: "progress-track" }, h("span", { class: "progress-fill" })), h("span", { class: "progress-text small" }));
    this.#draw();
  }

  get value() {
    return this.#value;
  }

  set value(value) {
    this.#value = value == null ? null : Math.min(Math.max(value, 0), 1);
    this.#draw();
  }

  set text(text) {
    this.#text = text;
    this.#draw();
  }

  #draw() {
    const fill = this.querySelector(".progress-fill");
    if (!fill) return;
    const isKnown = this.#value !== null;
    this.classList.toggle("unknown", !isKnown);
    if (isKnown) this.setAttribute("aria-valuenow", String(Math.round(this.#value * 100)));
    else this.removeAttribute("aria-valuenow");
    fill.style.inlineSize = isKnown ? `${this.#value * 100}%` : "";
    this.querySelector(".progress-text").textContent = this.#text || (isKnown ? percent(this.#value, 0) : "");
  }
}
customElements.define("progress-bar", ProgressBar);

/** A bar. */
export function progressBar(value, { label = "Progress", text = "" } = {}) {
  return h("progress-bar", { ".label": label, ".value": value, ".text": text });
}
