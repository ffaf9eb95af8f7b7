// The parts of a reply, in the playground and in conversations: thoughts, calls of tools, images, numbers.

import { h, replace } from "../lib/element.js";
import { duration, number } from "../lib/format.js";
import { icon } from "../lib/icons.js";
import { FEW, counted, summaryOf, tableOf } from "../lib/figures.js";

/** Thoughts in a fold: open while they alone come, unless the reader decided otherwise. */
export class Thoughts {
  #text = document.createTextNode("");
  #title = h("span", null, "Thinking…");
  #touched = false;
  #settled = false;

  constructor(text = "", { live = false } = {}) {
    const touch = () => (this.#touched = true);
    const summary = h("summary", { onclick: touch }, icon("activity", { size: 16 }), this.#title);
    this.element = h("details", { class: "thoughts", open: live, hidden: !text }, summary, h("div", { class: "thoughts-text" }, this.#text));
    this.#text.data = text;
    if (!live) this.settle();
  }

  grow(piece) {
    this.element.hidden = false;
    this.#text.appendData(piece);
  }

  /** The reply itself has begun, or ended; a stopwatch tells how long was thought. */
  settle({ first = null, total = 0 } = {}) {
    if (this.#settled) return;
    this.#settled = true;
    this.#title.textContent = first === null ? "Thoughts" : `Thought for ${duration(total - first)}`;
    if (!this.#touched) this.element.open = false;
  }
}

/** A call of a tool: its name, and what it is called with. */
export function toolCall(call) {
  const { name = "", arguments: given = {} } = call?.function ?? {};
  const text = typeof given === "string" ? given : JSON.stringify(given, null, 2);
  return h(
    "div",
    { class: "tool-call" },
    h("p", { class: "tool-name" }, icon("settings", { size: 16 }), "Calls ", h("code", null, name)),
    h("pre", { tabindex: "0", role: "group", "aria-label": `What ${name} is called with` }, text),
  );
}

/** What a tool has answered. */
export function toolResult(name, content) {
  return h(
    "div",
    { class: "tool-result" },
    h("p", { class: "tool-name" }, icon("arrow", { size: 16 }), "Result of ", h("code", null, name || "a tool")),
    h("pre", { tabindex: "0", role: "group", "aria-label": `Result of ${name || "a tool"}` }, content),
  );
}

/** Images of a message, small; a click shows one whole. */
export function pictures(sources) {
  if (!sources.length) return null;
  return h("div", { class: "pictures" }, sources.map((source, at) => picture(source, `Image ${at + 1}`)));
}

function picture(source, label) {
  const show = () => {
    const close = h("button", { class: "button", autofocus: true }, "Close");
    const dialog = h("dialog", { class: "dialog picture-dialog", "aria-label": label }, h("img", { src: source, alt: label }), h("form", { method: "dialog", class: "actions end" }, close));
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  };
  return h("button", { type: "button", class: "picture", "aria-label": `Show ${label.toLowerCase()}`, onclick: show }, h("img", { src: source, alt: label, loading: "lazy" }));
}

/** The numbers of a reply: a line, and behind it a table. */
export function figuresView(figures) {
  const line = summaryOf(figures).map(([text, title]) => h("span", { title }, text));
  const rows = tableOf(figures).map(([name, value, from]) => h("tr", null, h("th", { scope: "row" }, name), h("td", null, value), h("td", { class: "muted" }, from)));
  const head = h("thead", null, h("tr", null, ["what", "value", "measured by"].map((text) => h("th", { scope: "col" }, text))));
  const table = h("table", { class: "figures-table" }, h("caption", { class: "visually-hidden" }, "Numbers of this reply"), head, h("tbody", null, rows));
  return h("details", { class: "figures" }, h("summary", null, line), table);
}

/** The same for what is stored, which has other names. */
export function storedFigures(message) {
  const { prompt_tokens: prompt, completion_tokens: written, first_byte_ms: first, total_ms: total } = message;
  const about = message.tokens_estimated ? "≈ " : "";
  const parts = [
    written !== undefined && `${about}${number(written)} tokens`,
    written >= FEW && total > first && `${number(((written - 1) / (total - first)) * 1000, 1)} tokens/s`,
    first !== undefined && `first after ${duration(first)}`,
    total !== undefined && `${duration(total)} in all`,
    prompt !== undefined && `${about}${number(prompt)} in the prompt`,
  ];
  return h("p", { class: "figures-line" }, parts.filter(Boolean).map((text) => h("span", null, text)));
}

/** The line of numbers while a reply still comes. */
export function liveLine(element, { first, total, pieces, speed }) {
  const parts = first === null ? [`Waiting for the first token… ${duration(total)}`] : [counted(pieces), speed && `${number(speed, 1)}/s`, duration(total)];
  replace(element, parts.filter(Boolean).map((text) => h("span", null, text)));
}
