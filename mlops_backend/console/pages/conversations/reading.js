// One conversation: read, gone on in, and changed.

import { confirm } from "../../components/confirm-dialog.js";
import { failure, loading } from "../../components/empty-state.js";
import { toast } from "../../components/toast-list.js";
import { troubleNote } from "../../components/trouble-note.js";
import "../../components/prompt-box.js";
import { h, replace } from "../../lib/element.js";
import { follow } from "../../lib/follow.js";
import { icon } from "../../lib/icons.js";
import { troubleOf } from "../../lib/trouble.js";
import { source } from "../../lib/attachments.js";
import "./head.js";
import { liveReply } from "./live.js";
import "./messages.js";
import { elsewhereNote, grouped, modelChoice, pendingQuestion, resultForm, unansweredNote } from "./parts.js";
import * as store from "./store.js";
import { SOON, pause, untilAnswered } from "./waiting.js";

// Refusals before the message was stored, after which it is in the prompt again.
const NOT_STORED = new Set(["precondition_failed", "conversation_full", "validation_error", "database_busy", "database_down", "csrf_token_missing", "unreachable", "body_too_large"]);

/** <conversation-reading>: `open(id, message)`, `begin()`. Tells of "changed", "made" (with an id) and "deleted". */
export class ConversationReading extends HTMLElement {
  #conversation = null;
  #asking = null;
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
    const mine = (this.#watching = new AbortController());
    try {
      this.#conversation = await store.readOne(id, mine.signal);
    } catch (error) {
      if (mine.signal.aborted) return;
      const title = error.status === 404 ? "There is no such conversation" : "It cannot be read";
      replace(this, failure(error, { title, again: error.status === 404 ? null : () => this.open(id, message) }));
      return;
    }
    this.#frame();
    this.#draw();
    if (message) this.goTo(message);
    else this.#follow.toEnd();
    this.#watch();
  }

  /** Show a message. */
  goTo(message) {
    this.list?.goTo(message);
  }

  #leave() {
    this.#asking?.abort();
    this.#asking = null;
    this.#watching?.abort();
    this.#follow?.end();
    this.head = this.list = null;
  }

  #frame() {
    const { id, title } = this.#conversation;
    this.head = h("reading-head", { ".about": { id, title }, onrenamed: ({ detail }) => this.#renamed(detail), ondeleted: ({ detail }) => this.#deleted(detail) });
    this.list = h("message-list", { onact: ({ detail }) => this.#act(detail) });
    this.after = h("div", { class: "after-messages" });
    this.announcement = h("p", { class: "visually-hidden", role: "status" });
    this.choice = modelChoice(this.models, this.#conversation.model);
    this.prompt = h("prompt-box", { ".placeholder": "Go on", ".before": this.choice ? [this.choice] : [], onsend: () => this.#send(), onstop: () => this.#stop() });
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

  // A question without a reply: it may be on its way in another tab, or what came of it is just being stored.
  async #watch() {
    replace(this.after);
    if (!this.#unanswered) return this.#offerResults();
    this.#watching?.abort();
    const { signal } = (this.#watching = new AbortController());
    try {
      await untilAnswered(this.id, signal, {
        isAnswered: (found) => {
          this.#take(found);
          return !this.#unanswered;
        },
        elsewhere: (ids) => this.#tell(elsewhereNote(() => ids.forEach((id) => store.endWriting(id).catch(() => {})))),
        nothing: () => this.#tell(unansweredNote(() => this.#again())),
      });
      if (signal.aborted || this.#unanswered) return undefined;
      replace(this.after);
      this.#offerResults();
    } catch (error) {
      if (!signal.aborted) this.#explain(error);
    }
    return undefined;
  }

  // Said once: who listens is not told the same with every look.
  #tell(note) {
    if (this.after.firstChild?.className !== note.className) replace(this.after, note);
  }

  #offerResults() {
    const last = this.#conversation.messages.at(-1);
    const calls = last?.role === "assistant" ? (last.tool_calls ?? []) : [];
    if (calls.length) replace(this.after, resultForm(calls, (messages) => this.#sendResults(messages)));
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
    if (this.#asking) return;
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

  #stop() {
    this.#asking?.abort();
  }

  // Ask for a reply, and show it; false if the message was not stored.
  async #ask(body, { question = null, again = false }) {
    this.#watching?.abort();
    const mine = (this.#asking = new AbortController());
    this.prompt.busy = true;
    replace(this.after);
    const model = this.choice?.value || this.#conversation.model;
    const live = liveReply(model, () => this.#stop());
    this.list.add([question, live.element].filter(Boolean), { again });
    this.#follow.toEnd();
    let stored = false;
    let replyId = null;
    let trouble = null;
    try {
      await this.#made();
      const response = await store.ask(this.#conversation, model ? { ...body, model } : body, { again, signal: mine.signal });
      stored = true;
      replyId = response.headers.get("X-Reply-ID");
      const last = await live.receive(response);
      if (last.conversation?.stored === false) toast("The reply is not stored, or not yet: the database is away.", { kind: "danger" });
    } catch (error) {
      if (!mine.signal.aborted) trouble = error;
      else stored = true;
    }
    live.end();
    if (this.#asking !== mine) return true;
    this.#asking = null;
    this.prompt.busy = false;
    stored ||= !NOT_STORED.has(trouble?.code);
    await this.#afterwards(trouble, replyId);
    this.announcement.textContent = trouble ? `Failed. ${trouble.message}` : live.text;
    return stored;
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
    if (id) await this.#refresh((messages) => !replyId || messages.some((one) => one.id === replyId)).catch(() => {});
    if (this.id !== id) return;
    if (trouble) this.#explain(trouble);
    else if (id) this.#watch();
    this.dispatchEvent(new CustomEvent("changed"));
  }

  #explain(error) {
    if (error.code === "precondition_failed") {
      toast("It was changed in another tab; this is how it is now. Nothing was sent.", { kind: "danger" });
      return;
    }
    const again = this.id && this.#unanswered && h("button", { type: "button", class: "button small", onclick: () => this.#again() }, icon("refresh", { size: 16 }), "Try again");
    replace(this.after, troubleNote(troubleOf(error), again));
  }

  async #failed(error) {
    if (error.code === "precondition_failed") await this.#refresh().catch(() => {});
    this.#explain(error);
  }

  #act({ name, id }) {
    if (this.#asking) return;
    if (name === "again") this.#again();
    else if (name === "edit") this.#edit(id);
    else this.#cut(id);
  }

  async #cut(id) {
    const at = this.#conversation.messages.findIndex((one) => one.id === id);
    const count = this.#conversation.messages.slice(at + 1).filter((one) => !one.replaced_at).length;
    if (!(await confirm({ title: "Delete what follows?", text: `${count} ${count === 1 ? "message is" : "messages are"} deleted for good.`, action: "Delete", danger: true }))) return;
    try {
      await store.truncate(this.#conversation, id);
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
    const at = this.#conversation.messages.indexOf(message);
    const after = this.#conversation.messages.slice(0, at).findLast((one) => !one.replaced_at)?.id ?? null;
    try {
      const images = await Promise.all(message.images.map(({ hash }) => store.imageData(this.id, hash)));
      await store.truncate(this.#conversation, after);
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
