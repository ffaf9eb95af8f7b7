// A text in Markdown that may still grow: what is complete is left alone, only its end is drawn again.

import { h } from "../lib/element.js";
import { levelled, markdown as libraries } from "../lib/markdown.js";

// Milliseconds between two drawings of a text that grows; a slow machine gets more.
const PAUSE = 80;

/** <x-markdown>: `.text` sets the whole, `grow(piece)` adds to it, `finish()` says that nothing more comes. */
export class XMarkdown extends HTMLElement {
  #text = "";
  #blocks = [];
  #settled = 0;
  #grows = false;
  #timer = 0;
  #tools = undefined;

  get text() {
    return this.#text;
  }

  set text(text) {
    this.#text = text;
    this.finish();
  }

  /** Add a piece; it is drawn within a moment. */
  grow(piece) {
    this.#text += piece;
    this.#grows = true;
    this.#timer ||= setTimeout(() => this.#draw(), PAUSE);
  }

  /** The text is whole: draw it as such. */
  finish() {
    this.#grows = false;
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#draw();
  }

  async #draw() {
    if (this.#tools === undefined) {
      if (!this.firstChild) this.#plain();
      this.#tools = (await libraries()) ?? null;
    }
    if (this.#tools === null) this.#plain();
    else this.#measured();
  }

  #plain() {
    this.#timer = 0;
    this.classList.add("as-written");
    this.textContent = this.#text;
  }

  // A drawing takes a quarter of the time at the most.
  #measured() {
    const before = performance.now();
    if (this.classList.contains("as-written")) this.#clear();
    this.#drawBlocks(this.#text.replace(/\r\n?/g, "\n"));
    this.#timer = 0;
    if (!this.#grows) return;
    const pause = Math.max(PAUSE, 3 * (performance.now() - before));
    const drawn = this.#text.length;
    this.#timer = setTimeout(() => (this.#text.length > drawn ? this.#draw() : (this.#timer = 0)), pause);
  }

  #clear() {
    this.classList.remove("as-written");
    this.replaceChildren();
    this.#blocks = [];
    this.#settled = 0;
  }

  #drawBlocks(text) {
    const from = this.#grows ? this.#settled : 0;
    const start = this.#blocks.slice(0, from).reduce((length, { raw }) => length + raw.length, 0);
    const blocks = this.#tools.blocks(text.slice(start));
    // An address that stands at the end of the text may make links of what was none.
    if (Object.keys(blocks.links ?? {}).length) this.#cut(from);
    let same = 0;
    while (same < blocks.length && this.#blocks[from + same]?.raw === blocks[same].raw) same += 1;
    this.#cut(from + same);
    for (const block of blocks.slice(same)) this.#add(block);
    this.#settled = Math.max(this.#blocks.findLastIndex(({ type }) => type !== "space"), 0);
  }

  #cut(first) {
    for (const { nodes } of this.#blocks.splice(first)) nodes.forEach((node) => node.remove());
  }

  #add(block) {
    const level = levelled(block, this.#blocks.at(-1)?.level);
    const fragment = this.#tools.fragment(block);
    const nodes = [...fragment.childNodes];
    this.append(fragment);
    this.#blocks.push({ raw: block.raw, type: block.type, level, nodes });
  }
}
customElements.define("x-markdown", XMarkdown);

/** A text in Markdown. */
export function markdown(text) {
  return h("x-markdown", { ".text": text });
}
