// One model's reply: asked for, shown as it comes, stopped, tried again; and the calls of tools on its way.

import { Thoughts, figuresView, liveLine, toolCall, toolResult } from "../../components/chat-parts.js";
import { copyButton } from "../../components/copy-button.js";
import { troubleNote } from "../../components/trouble-note.js";
import "../../components/x-markdown.js";
import { call, objects } from "../../lib/api.js";
import { h, replace, uniqueId } from "../../lib/element.js";
import { figuresOf, stopwatch } from "../../lib/figures.js";
import { icon } from "../../lib/icons.js";
import { markdown } from "../../lib/markdown.js";
import { cutError, streamError, troubleOf } from "../../lib/trouble.js";
import { showCode } from "./code-dialog.js";

const TICK = 250;

/**
 * <play-reply>: `.reply` is what it shows; `ask(body)` begins a round, `stop()` ends it.
 * Tells of "settled" (a round ended), "again" and "results" (the person said what the tools answered).
 */
export class PlayReply extends HTMLElement {
  #stopping = null;
  #last = false;
  reply = null;

  connectedCallback() {
    this.state = h("span", { class: "reply-state" });
    this.halt = h("button", { type: "button", class: "button plain small", hidden: true, onclick: () => this.stop() }, icon("stop", { size: 16 }), "Stop");
    this.body = h("div", { class: "reply-body" });
    this.foot = h("footer", { class: "reply-foot" });
    this.name = h("h2", null, this.reply.model);
    const head = h("header", { class: "reply-head" }, this.name, this.state, this.halt);
    replace(this, h("article", { class: "reply", "aria-label": `Reply of ${this.reply.model}` }, head, this.body, this.foot));
    this.#draw();
  }

  disconnectedCallback() {
    this.stop();
  }

  get running() {
    return this.#stopping !== null;
  }

  /** Whether this is a reply to what was said last, and so may be tried again. */
  set last(last) {
    this.#last = last;
    this.classList.toggle("is-last", last);
    if (this.foot) this.#drawFoot();
  }

  stop() {
    this.#stopping?.abort();
  }

  /** Begin anew, perhaps with another model. */
  clear(model) {
    Object.assign(this.reply, { model, rounds: [] });
    this.name.textContent = model;
    this.#draw();
  }

  /** Ask for a round, and show it while it comes. */
  async ask(body) {
    const message = { content: "", thinking: "", tool_calls: [] };
    const round = { body, message, state: "running", trouble: null, figures: null, requestId: null, results: [] };
    this.reply.rounds.push(round);
    markdown(); // what shows a reply is fetched while the model begins
    this.#stopping = new AbortController();
    const view = this.#begin(round);
    const watch = stopwatch();
    const ticking = setInterval(() => liveLine(view.line, watch.read()), TICK);
    let last = null;
    try {
      last = await this.#receive(round, view, watch);
      round.state = "done";
    } catch (error) {
      round.state = this.#stopping.signal.aborted ? "stopped" : "failed";
      if (round.state === "failed") round.trouble = troubleOf(error, round.requestId);
    }
    clearInterval(ticking);
    this.#stopping = null;
    round.figures = figuresOf(last, watch.read());
    this.#end(round, view);
    this.dispatchEvent(new CustomEvent("settled", { bubbles: true, detail: round }));
  }

  async #receive(round, view, watch) {
    const response = await call("POST", "/api/chat", { body: round.body, signal: this.#stopping.signal });
    round.requestId = response.headers.get("X-Request-ID");
    let last = null;
    for await (const part of objects(response)) {
      if (part.error !== undefined) throw streamError(part, round.requestId);
      this.#take(part.message ?? {}, round, view, watch);
      if (part.done) last = part;
    }
    if (!last) throw cutError(round.requestId);
    return last;
  }

  #take({ content = "", thinking = "", tool_calls: calls }, { message }, view, watch) {
    if (!content && !thinking && !calls?.length) return;
    watch.piece();
    if (thinking) {
      view.thoughts.grow(thinking);
      this.state.textContent = "Thinking…";
    } else if (!message.content) {
      view.thoughts.settle(watch.read());
      this.state.textContent = "Writing…";
    }
    message.thinking += thinking;
    message.content += content;
    if (content) view.text.grow(content);
    for (const one of calls ?? []) {
      message.tool_calls.push(one);
      view.calls.append(toolCall(one));
    }
  }

  #begin(round) {
    this.state.textContent = "Asking…";
    this.halt.hidden = false;
    const view = this.#roundView(round, { live: true });
    this.body.append(view.element);
    this.body.setAttribute("aria-busy", "true");
    this.#drawFoot();
    return view;
  }

  #end(round, view) {
    view.text.finish();
    view.thoughts.settle();
    view.line.remove();
    this.halt.hidden = true;
    this.body.removeAttribute("aria-busy");
    this.#close(round, view.element);
    this.#drawState();
    this.#drawFoot();
  }

  #draw() {
    replace(this.body);
    for (const round of this.reply.rounds) {
      const view = this.#roundView(round);
      view.text.text = round.message.content;
      replace(view.calls, round.message.tool_calls.map(toolCall));
      this.body.append(view.element);
      this.#close(round, view.element);
    }
    this.#drawState();
    this.#drawFoot();
  }

  #roundView(round, { live = false } = {}) {
    const thoughts = new Thoughts(round.message.thinking, { live });
    const text = h("x-markdown");
    const calls = h("div", { class: "tool-calls" });
    const line = live ? h("p", { class: "figures-line" }) : null;
    return { thoughts, text, calls, line, element: h("div", { class: "round" }, thoughts.element, text, calls, line) };
  }

  // What stands behind a round that has ended.
  #close(round, element) {
    if (round.state === "failed" && round.trouble) element.append(troubleNote(round.trouble, this.#againButton("Try again")));
    if (round.state === "stopped") element.append(h("p", { class: "muted small" }, "Stopped here."));
    if (round.state === "done" && !round.message.content && !round.message.tool_calls.length) element.append(h("p", { class: "muted" }, "The model said nothing."));
    if (round.figures?.first != null) element.append(figuresView(round.figures));
    for (const { tool_name: name, content } of round.results) element.append(toolResult(name, content));
    if (this.#waits(round)) element.append(this.#resultForm(round));
  }

  #waits(round) {
    return round.state === "done" && round.message.tool_calls.length > 0 && !round.results.length && round === this.reply.rounds.at(-1);
  }

  #resultForm(round) {
    const calls = round.message.tool_calls;
    const fields = calls.map(({ function: called }) => {
      const id = uniqueId("result");
      return h("div", { class: "field" }, h("label", { for: id }, "What ", h("code", null, called?.name ?? "the tool"), " answers"), h("textarea", { id, class: "input mono", rows: 2, required: true }));
    });
    const submit = (event) => {
      event.preventDefault();
      const texts = [...form.querySelectorAll("textarea")].map(({ value }) => value);
      round.results = texts.map((content, at) => ({ role: "tool", tool_name: calls[at].function?.name ?? "", content }));
      form.replaceWith(...round.results.map(({ tool_name: name, content }) => toolResult(name, content)));
      this.dispatchEvent(new CustomEvent("results", { bubbles: true }));
    };
    const form = h("form", { class: "result-form", onsubmit: submit }, fields, h("div", { class: "actions" }, h("button", { class: "button primary small" }, "Send the result")));
    return form;
  }

  #drawState() {
    const state = this.reply.rounds.at(-1)?.state;
    this.state.textContent = { stopped: "Stopped", failed: "Failed" }[state] ?? "";
  }

  #drawFoot() {
    const round = this.reply.rounds.at(-1);
    const text = () => this.reply.rounds.map(({ message }) => message.content).filter(Boolean).join("\n\n");
    replace(
      this.foot,
      !this.running && text() && copyButton(text),
      round?.body && h("button", { type: "button", class: "button plain small", onclick: () => showCode(round.body) }, icon("code", { size: 16 }), "Copy as code"),
      this.#last && !this.running && round && round.state !== "failed" && this.#againButton("Retry"),
    );
  }

  #againButton(text) {
    return h("button", { type: "button", class: "button plain small", onclick: () => this.dispatchEvent(new CustomEvent("again", { bubbles: true })) }, icon("refresh", { size: 16 }), text);
  }
}
customElements.define("play-reply", PlayReply);
