// Markdown of a model, made HTML and cleaned; where the libraries are missing it is shown as it was written.

import { h } from "../lib/element.js";
import { marked, purify } from "../lib/libraries.js";
import { copyButton } from "./copy-button.js";

const ALLOWED = {
  ALLOWED_TAGS: "a,blockquote,br,code,del,em,h1,h2,h3,h4,h5,h6,hr,input,li,ol,p,pre,strong,table,tbody,td,th,thead,tr,ul".split(","),
  ALLOWED_ATTR: ["align", "checked", "class", "disabled", "href", "start", "title", "type"],
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  RETURN_TRUSTED_TYPE: true,
};
const WHERE = /^(?:https?|mailto):/i;
// Markup in a text is shown as it was written, and an image by its address: nothing is fetched because a model says so.
const RENDERER = {
  html: ({ text }) => escaped(text),
  image: ({ href, text }) => escaped(`${text || "image"} (${href})`),
};
let tools = null;

async function prepare() {
  const [parser, cleaner] = await Promise.all([marked(), purify()]);
  if (!parser || !cleaner) return null;
  return { parser: new parser.Marked({ gfm: true, breaks: true, renderer: RENDERER }), cleaner };
}

/** <x-markdown>: `.text` may be set again and again while it grows; it is drawn once a frame. */
export class XMarkdown extends HTMLElement {
  #text = "";
  #waits = false;

  get text() {
    return this.#text;
  }

  set text(text) {
    this.#text = text;
    if (this.#waits) return;
    this.#waits = true;
    requestAnimationFrame(() => this.#draw());
  }

  async #draw() {
    tools ??= prepare();
    const ready = await tools;
    this.#waits = false;
    if (!ready) {
      this.classList.add("as-written");
      this.textContent = this.#text;
      return;
    }
    const parsed = ready.parser.parse(this.#text, { async: false });
    this.innerHTML = ready.cleaner.sanitize(parsed, ALLOWED);
    this.#finish();
  }

  #finish() {
    for (const link of this.querySelectorAll("a")) leadAway(link);
    for (const box of this.querySelectorAll("input")) {
      if (box.type !== "checkbox") box.remove();
      else Object.assign(box, { disabled: true, ariaLabel: box.checked ? "Done" : "Not done" });
    }
    for (const block of this.querySelectorAll("pre")) this.#frameCode(block);
    for (const table of this.querySelectorAll("table")) {
      const frame = h("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Table" });
      table.replaceWith(frame);
      frame.append(table);
    }
  }

  #frameCode(block) {
    const language = block.querySelector("code")?.className.match(/language-([\w+#.-]+)/)?.[1] ?? "";
    const frame = h("figure", { class: "code-block" });
    block.replaceWith(frame);
    block.tabIndex = 0;
    frame.append(h("figcaption", null, h("span", null, language || "code"), copyButton(() => block.textContent, { compact: true, label: "Copy code" })), block);
  }
}
customElements.define("x-markdown", XMarkdown);

function escaped(text) {
  return text.replace(/[&<>"']/g, (one) => `&#${one.charCodeAt(0)};`);
}

function leadAway(link) {
  if (WHERE.test(link.getAttribute("href") ?? "")) Object.assign(link, { target: "_blank", rel: "noopener noreferrer nofollow" });
  else link.removeAttribute("href");
}

/** A text in Markdown. */
export function markdown(text) {
  return h("x-markdown", { ".text": text });
}
