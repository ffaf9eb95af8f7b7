// Where a message is written: text, images, and the buttons that send and stop.

import { ACCEPT, MOST, filesOf, read, source } from "../lib/attachments.js";
import { h, hidden, replace, uniqueId } from "../lib/element.js";
import { icon } from "../lib/icons.js";
import { toast } from "./toast-list.js";

const coarse = matchMedia("(pointer: coarse)");

/**
 * <prompt-box>: `.text`, `.images`, `.busy`, `.placeholder`, `.before` (nodes at the foot's beginning).
 * Tells of "change", "send" and "stop". `takes(zone)` lets images be dropped anywhere on that element.
 */
export class PromptBox extends HTMLElement {
  #images = [];
  #busy = false;
  placeholder = "Ask something";
  before = [];

  connectedCallback() {
    if (this.firstChild) return;
    const id = uniqueId("prompt");
    const events = { oninput: () => this.#changed(), onkeydown: (event) => this.#key(event), onpaste: (event) => this.#paste(event) };
    this.field = h("textarea", { id, rows: 1, placeholder: this.placeholder, "aria-describedby": `${id}-help`, ...events });
    this.file = h("input", { type: "file", accept: ACCEPT, multiple: true, hidden: true, onchange: () => this.#chosen() });
    const attach = h("button", { type: "button", class: "button plain icon-only", "aria-label": "Attach images", title: "Attach images", onclick: () => this.file.click() }, icon("attach"));
    this.tray = h("ul", { class: "tray", "aria-label": "Images to send", hidden: true });
    this.send = h("button", { type: "submit", class: "button primary" }, icon("send", { size: 16 }), "Send");
    this.stop = h("button", { type: "button", class: "button", hidden: true, onclick: () => this.#tell("stop") }, icon("stop", { size: 16 }), "Stop");
    const help = h("span", { id: `${id}-help`, class: "muted prompt-help" }, coarse.matches ? "" : "Enter sends, Shift+Enter begins a line");
    const foot = h("div", { class: "prompt-foot" }, attach, this.file, this.before, help, this.stop, this.send);
    const escape = ({ key }) => key === "Escape" && this.#busy && this.#tell("stop");
    this.append(h("form", { class: "prompt", onsubmit: (event) => this.#submit(event), onkeydown: escape }, h("label", { for: id }, hidden("Message")), this.tray, this.field, foot));
    this.#draw();
  }

  get text() {
    return this.field.value;
  }

  set text(text) {
    this.field.value = text;
    this.#fit();
  }

  get images() {
    return this.#images;
  }

  set images(images) {
    this.#images = images;
    this.#draw();
  }

  set busy(busy) {
    const hadFocus = this.contains(document.activeElement) && document.activeElement.localName === "button";
    this.#busy = busy;
    this.stop.hidden = !busy;
    this.send.hidden = busy;
    if (hadFocus) (busy ? this.stop : this.field).focus();
  }

  focus() {
    this.field.focus();
    this.field.setSelectionRange(this.field.value.length, this.field.value.length);
  }

  /** Let images be dropped on an element. */
  takes(zone) {
    const over = (isOver) => zone.classList.toggle("drop-here", isOver);
    zone.addEventListener("dragover", (event) => {
      if (![...event.dataTransfer.types].includes("Files")) return;
      event.preventDefault();
      over(true);
    });
    zone.addEventListener("dragleave", (event) => !zone.contains(event.relatedTarget) && over(false));
    zone.addEventListener("drop", (event) => {
      over(false);
      if (!this.isConnected || !filesOf(event.dataTransfer).length) return;
      event.preventDefault();
      this.#take(filesOf(event.dataTransfer));
    });
  }

  #submit(event) {
    event.preventDefault();
    if (!this.#busy && (this.text.trim() || this.#images.length)) this.#tell("send");
  }

  // On a phone Enter begins a line, as there is no other key for it.
  #key(event) {
    if (event.key !== "Enter" || event.isComposing || event.shiftKey) return;
    if (coarse.matches && !event.ctrlKey && !event.metaKey) return;
    this.#submit(event);
  }

  #paste(event) {
    const files = filesOf(event.clipboardData);
    if (!files.length) return;
    event.preventDefault();
    this.#take(files);
  }

  #chosen() {
    this.#take([...this.file.files]);
    this.file.value = "";
  }

  async #take(files) {
    const { images, refused } = await read(files, MOST - this.#images.length);
    for (const why of new Set(refused)) toast(why, { kind: "danger" });
    this.images = [...this.#images, ...images];
    this.#tell("change");
  }

  #draw() {
    if (!this.tray) return;
    this.tray.hidden = !this.#images.length;
    replace(this.tray, this.#images.map((image, at) => this.#thumbnail(image, at)));
  }

  #thumbnail(image, at) {
    const label = `Remove ${image.name || `image ${at + 1}`}`;
    const remove = () => {
      this.images = this.#images.filter((_, index) => index !== at);
      this.#tell("change");
      (this.tray.querySelectorAll("button")[Math.min(at, this.#images.length - 1)] ?? this.field).focus();
    };
    return h("li", null, h("img", { src: source(image), alt: image.name || `Image ${at + 1}` }), h("button", { type: "button", class: "button icon-only small", "aria-label": label, onclick: remove }, icon("close", { size: 14 })));
  }

  #changed() {
    this.#fit();
    this.#tell("change");
  }

  #fit() {
    this.field.style.blockSize = "auto";
    this.field.style.blockSize = `${this.field.scrollHeight}px`;
  }

  #tell(name) {
    this.dispatchEvent(new CustomEvent(name));
  }
}
customElements.define("prompt-box", PromptBox);
