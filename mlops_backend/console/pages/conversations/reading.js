// One conversation: read, gone on in, and changed.

import { failure, loading } from "../../components/empty-state.js";
import { toast } from "../../components/toast-list.js";
import "../../components/prompt-box.js";
import { h, replace } from "../../lib/element.js";
import { follow } from "../../lib/follow.js";
import { source } from "../../lib/attachments.js";
import "./after.js";
import { cutBehind, cutFrom } from "./changes.js";
import "./head.js";
import "./messages.js";
import { grouped, modelChoice, pendingQuestion } from "./parts.js";
import { RunningReply } from "./running.js";
import * as store from "./store.js";
import { SOON, pause, untilAnswered } from "./waiting.js";

/** <conversation-reading>: `open(id, message)`, `begin()`. Tells of "changed", "made" (with an id) and "deleted". */
export class ConversationReading extends HTMLElement {
  #conversation = null;
  #reply = null;
  // The streams that were shown here: what is told of them a moment after their end may be old.
  #shown = new Set();
  #watching = null;
  #follow = null;
  models = [];

  disconnectedCallback() {
    this.#leave();
  }

  get id() {
    return this.#conversation?.id ?? null;
  }

  set title(title) {
    if (this.#conversation) this.#conversation.title = title;
    if (this.head) this.head.title = title;
  }

  /** A new one: it is made with its first message. */
  begin() {
    this.#leave();
    this.#conversation = { id: null, title: "New conversation", model: this.models[0]?.name ?? "", messages: [], version: null };
    this.#frame();
    this.prompt.focus();
  }

  /** Read one, and go to a message of it, or else to its end. */
  async open(id, message = null) {
    this.#leave();
    replace(this, loading("Reading…"));
    const { signal } = (this.#watching = new AbortController());
    let running;
    try {
      // In this order: what ends between the two is stored, and read.
      running = await store.running(id, signal);
      this.#conversation = await store.readOne(id, signal);
    } catch (error) {
      if (signal.aborted) return;
      const title = error.status === 404 ? "There is no such conversation" : "It cannot be read";
      replace(this, failure(error, { title, again: error.status === 404 ? null : () => this.open(id, message) }));
      return;
    }
    this.#frame();
    this.#draw();
    if (message) this.goTo(message);
    else this.#follow.toEnd();
    const last = running.at(-1);
    if (last && (this.#unanswered || store.isAgain(last))) this.#readOn(last);
    else this.#watch();
  }

  /** Show a message. */
  goTo(message) {
    this.list?.goTo(message);
  }

  #leave() {
    this.#reply?.leave();
    this.#reply = null;
    this.#shown.clear();
    this.#watching?.abort();
    this.#follow?.end();
    this.head = this.list = null;
  }

  #frame() {
    const { id, title } = this.#conversation;
    this.head = h("reading-head", { ".about": { id, title }, onrenamed: ({ detail }) => this.#renamed(detail), ondeleted: ({ detail }) => this.#deleted(detail) });
    this.list = h("message-list", { onact: ({ detail }) => this.#act(detail) });
    this.after = h("reading-after", { onagain: () => this.#again(), onresults: ({ detail }) => this.#sendResults(detail) });
    this.announcement = h("p", { class: "visually-hidden", role: "status" });
    this.choice = modelChoice(this.models, this.#conversation.model);
    this.prompt = h("prompt-box", { ".placeholder": "Go on", ".before": this.choice ? [this.choice] : [], onsend: () => this.#send(), onstop: () => this.#reply?.stop() });
    replace(this, this.head, h("div", { class: "thread" }, this.list, this.after), this.prompt, this.announcement);
    this.prompt.takes(this);
    this.#follow = follow(this.list);
    this.#follow.begin();
  }

  #draw() {
    this.list?.show(this.#conversation);
    const { model } = this.#conversation;
    if (this.choice && [...this.choice.options].some(({ value }) => value === model)) this.choice.value = model;
  }

  get #unanswered() {
    const last = grouped(this.#conversation.messages).at(-1)?.message;
    return Boolean(last) && (last.role === "user" || last.role === "tool");
  }

  // A question without a reply: that may be on its way, or what came of it is just being stored.
  async #watch() {
    this.after.clear();
    if (!this.#unanswered) return this.#offerResults();
    this.#watching?.abort();
    const { signal } = (this.#watching = new AbortController());
    try {
      const stream = await untilAnswered(this.id, signal, {
        isAnswered: (found) => {
          this.#take(found);
          return !this.#unanswered;
        },
        nothing: () => this.after.unanswered(),
        shown: this.#shown,
      });
      if (stream) return this.#readOn(stream);
      if (signal.aborted || this.#unanswered) return undefined;
      this.after.clear();
      this.#offerResults();
    } catch (error) {
      if (!signal.aborted) this.#explain(error);
    }
    return undefined;
  }

  #offerResults() {
    const last = this.#conversation.messages.at(-1);
    const calls = last?.role === "assistant" ? (last.tool_calls ?? []) : [];
    if (calls.length) this.after.offerResults(calls);
  }

  #take(conversation) {
    this.#conversation = conversation;
    this.title = conversation.title;
    this.#draw();
  }

  async #refresh(isThere = () => true) {
    const { id } = this;
    for (const wait of SOON) {
      await pause(wait);
      const found = await store.readOne(id);
      if (this.id !== id) return;
      this.#take(found);
      if (isThere(found.messages)) return;
    }
  }

  async #send() {
    const { text, images } = this.prompt;
    if (this.#reply) return;
    this.prompt.text = "";
    this.prompt.images = [];
    const body = { content: text, ...(images.length && { images: images.map(({ data }) => data) }) };
    const isSent = await this.#ask(body, { question: pendingQuestion(text, images.map(source)) });
    if (isSent || this.prompt.text) return;
    this.prompt.text = text;
    this.prompt.images = images;
  }

  async #sendResults(messages) {
    const { content, tool_name } = messages.at(-1);
    const before = messages.slice(0, -1);
    try {
      if (before.length) this.#conversation.version = (await store.append(this.#conversation, before)).version;
    } catch (error) {
      await this.#failed(error);
      return;
    }
    await this.#ask({ role: "tool", content, tool_name }, {});
  }

  #again() {
    return this.#ask({}, { again: true });
  }

  // Ask for a reply, and show it; false if the message was not stored.
  #ask(body, { question = null, again = false }) {
    const model = this.choice?.value || this.#conversation.model;
    const ask = async (signal) => {
      await this.#made();
      return store.ask(this.#conversation, model ? { ...body, model } : body, { again, signal });
    };
    this.#follow.toEnd();
    return this.#show({ model, ask }, { question, again });
  }

  // Show a reply that was asked for elsewhere, or before the page was loaded.
  #readOn(stream) {
    return this.#show({ stream }, { again: store.isAgain(stream) });
  }

  async #show(about, { question = null, again }) {
    this.#watching?.abort();
    const reply = (this.#reply = new RunningReply({ ...about, announce: (text) => (this.announcement.textContent = text) }));
    this.prompt.busy = true;
    this.after.clear();
    this.list.add([question, reply.element].filter(Boolean), { again });
    const { last, trouble, isStored, replyId } = await reply.show();
    if (this.#reply !== reply) return true;
    this.#reply = null;
    this.#shown.add(reply.id);
    this.prompt.busy = false;
    if (last?.conversation?.stored === false) toast("The reply is not stored, or not yet: the database is away.", { kind: "danger" });
    await this.#afterwards(trouble, replyId);
    this.announcement.textContent = trouble ? `Failed. ${trouble.message}` : reply.text;
    return isStored;
  }

  async #made() {
    if (this.id) return;
    const made = await store.create();
    this.#conversation = made;
    this.head.about = { id: made.id, title: made.title };
    this.dispatchEvent(new CustomEvent("made", { detail: made.id }));
  }

  async #afterwards(trouble, replyId) {
    const { id } = this;
    let told = trouble;
    if (id) await this.#refresh((messages) => !replyId || messages.some((one) => one.id === replyId)).catch((error) => (told ??= error));
    if (this.id !== id) return;
    if (told) this.#explain(told);
    else if (id) this.#watch();
    this.dispatchEvent(new CustomEvent("changed"));
  }

  #explain(error) {
    if (error.code === "precondition_failed") {
      toast("It was changed in another tab; this is how it is now. Nothing was sent.", { kind: "danger" });
      return;
    }
    this.after.explain(error, { again: this.id && this.#unanswered });
  }

  async #failed(error) {
    if (error.code === "precondition_failed") await this.#refresh().catch(() => {});
    this.#explain(error);
  }

  #act({ name, id }) {
    if (this.#reply) return;
    if (name === "again") this.#again();
    else if (name === "edit") this.#edit(id);
    else this.#cut(id);
  }

  async #cut(id) {
    try {
      if (!(await cutBehind(this.#conversation, id))) return;
      await this.#refresh();
      this.#watch();
      this.dispatchEvent(new CustomEvent("changed"));
    } catch (error) {
      await this.#failed(error);
    }
  }

  #edit(id) {
    const message = this.#conversation.messages.find((one) => one.id === id);
    this.list.edit(message, (text) => this.#resend(message, text));
  }

  #renamed({ title, version }) {
    Object.assign(this.#conversation, { title, version });
    this.dispatchEvent(new CustomEvent("changed"));
  }

  #deleted(id) {
    this.#leave();
    this.dispatchEvent(new CustomEvent("deleted", { detail: id }));
  }

  async #resend(message, content) {
    try {
      const images = await cutFrom(this.#conversation, message);
      await this.#refresh();
      const sources = images.map((data, index) => source({ type: message.images[index].media_type, data }));
      const isSent = await this.#ask({ content, ...(images.length && { images }) }, { question: pendingQuestion(content, sources) });
      if (!isSent) this.prompt.text = content;
    } catch (error) {
      await this.#failed(error);
    }
  }
}
customElements.define("conversation-reading", ConversationReading);
