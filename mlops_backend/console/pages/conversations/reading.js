// One conversation: read, gone on in, and changed.

import { confirm } from "../../components/confirm-dialog.js";
import { failure, loading } from "../../components/empty-state.js";
import { toast } from "../../components/toast-list.js";
import { troubleNote } from "../../components/trouble-note.js";
import "../../components/prompt-box.js";
import { h, hidden, replace, uniqueId } from "../../lib/element.js";
import { follow } from "../../lib/follow.js";
import { icon } from "../../lib/icons.js";
import { troubleOf } from "../../lib/trouble.js";
import { source } from "../../lib/attachments.js";
import { pictures } from "../../components/chat-parts.js";
import { liveReply } from "./live.js";
import { messageView } from "./message.js";
import * as store from "./store.js";

// How long to wait for what came of a reply that was broken off, which is stored a moment later; then every 5 s.
const SOON = [0, 250, 500, 1000, 2000];
const SELDOM = 5000;
// So many looks without one, and another reply is offered.
const AFTER = 2;

/** <conversation-reading>: `open(id, message)`, `begin()`. Tells of "changed", "made" (with an id) and "deleted". */
export class ConversationReading extends HTMLElement {
  #conversation = null;
  #shown = new Map();
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
    if (this.heading) this.heading.textContent = title || "Untitled";
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
    const found = this.#shown.get(message)?.element;
    found?.scrollIntoView({ block: "center" });
    found?.focus({ preventScroll: true });
  }

  #leave() {
    this.#asking?.abort();
    this.#asking = null;
    this.#watching?.abort();
    this.#follow?.end();
    this.#shown.clear();
    this.heading = null;
  }

  #frame() {
    this.heading = h("h2", { tabindex: "-1" }, this.#conversation.title || "Untitled");
    this.headPlace = h("header", { class: "reading-head" });
    this.list = h("ol", { class: "messages", onclick: (event) => this.#act(event) });
    this.after = h("div", { class: "after-messages" });
    this.announcement = h("p", { class: "visually-hidden", role: "status" });
    const choice = this.#modelChoice();
    this.prompt = h("prompt-box", { ".placeholder": "Go on", ".before": choice ? [choice] : [], onsend: () => this.#send(), onstop: () => this.#stop() });
    this.#drawHead();
    replace(this, this.headPlace, h("div", { class: "thread" }, this.list, this.after), this.prompt, this.announcement);
    this.prompt.takes(this);
    this.#follow = follow(this.list);
    this.#follow.begin();
  }

  #modelChoice() {
    const names = this.models.map(({ name }) => name);
    const { model } = this.#conversation;
    if (!names.length) return null;
    const all = !model || names.includes(model) ? names : [model, ...names];
    this.choice = h("select", { class: "input select small model-choice", "aria-label": "Model" }, all.map((name) => h("option", { value: name, ".selected": name === model }, name)));
    return this.choice;
  }

  #drawHead() {
    const { id } = this.#conversation;
    const actions = id && [
      h("button", { type: "button", class: "button small", onclick: () => this.#rename() }, icon("pencil", { size: 16 }), "Rename"),
      download("markdown", "Markdown", id),
      download("json", "JSON", id),
      h("button", { type: "button", class: "button small danger-quiet", onclick: () => this.#delete() }, icon("trash", { size: 16 }), "Delete"),
    ];
    replace(this.headPlace, h("a", { class: "back", href: "#/conversations" }, icon("chevron", { size: 16 }), "All conversations"), this.heading, h("div", { class: "actions" }, actions));
  }

  // What is there already, and has not changed, stays as it is.
  #draw() {
    const groups = grouped(this.#conversation.messages);
    const wanted = groups.map(({ message, earlier }) => {
      const state = JSON.stringify([message, earlier.length]);
      const before = this.#shown.get(message.id);
      if (before?.state === state) return [message.id, before];
      return [message.id, { state, element: messageView(message, { conversation: this.id, earlier }) }];
    });
    this.#shown = new Map(wanted);
    const elements = wanted.map(([, { element }]) => element);
    elements.forEach((one, at) => one !== this.list.children[at] && this.list.insertBefore(one, this.list.children[at] ?? null));
    while (this.list.children.length > elements.length) this.list.lastChild.remove();
    elements.forEach((one, at) => one.classList.toggle("is-last", at === elements.length - 1));
    const model = this.#conversation.model;
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
      await this.#lookAgain(signal);
    } catch (error) {
      if (!signal.aborted) this.#explain(error);
    }
    return undefined;
  }

  async #lookAgain(signal) {
    for (let times = 0; ; times += 1) {
      await pause(SOON[times] ?? SELDOM, signal);
      const running = await store.writing(this.id, signal);
      const found = await store.readOne(this.id, signal);
      if (signal.aborted) return;
      this.#take(found);
      if (!this.#unanswered) {
        replace(this.after);
        this.#offerResults();
        return;
      }
      if (running.length) this.#showElsewhere(running);
      else if (times >= AFTER) this.#offerReply();
      if (!running.length && times >= SOON.length - 1) return;
    }
  }

  #showElsewhere(ids) {
    if (this.after.querySelector(".elsewhere")) return;
    const end = async () => {
      for (const id of ids) await store.endWriting(id).catch(() => {});
    };
    const stop = h("button", { type: "button", class: "button small", onclick: end }, icon("stop", { size: 16 }), "Stop it");
    replace(this.after, h("div", { class: "note elsewhere", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), h("span", null, "A reply is being written, in another tab or window. It is shown here when it is whole."), stop));
  }

  #offerReply() {
    if (this.after.querySelector(".unanswered")) return;
    const ask = h("button", { type: "button", class: "button small", onclick: () => this.#again() }, icon("refresh", { size: 16 }), "Ask for one");
    replace(this.after, h("div", { class: "note unanswered" }, h("span", null, "No reply came to this."), ask));
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
    if (again) this.list.querySelector(".message.is-assistant.is-last")?.remove();
    this.list.append(...[question, live.element].filter(Boolean));
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
    this.#drawHead();
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

  #act(event) {
    const name = event.target.closest("[data-action]")?.dataset.action;
    const id = event.target.closest(".message")?.id;
    if (!name || !id || this.#asking) return;
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
    const place = this.#shown.get(id).element;
    const before = place.firstChild;
    const cancel = () => {
      replace(place, before);
      before.querySelector('[data-action="edit"]').focus();
    };
    const form = editForm(message, cancel, (text) => {
      replace(place, before);
      this.#resend(message, text);
    });
    replace(place, form);
    form.querySelector("textarea").focus();
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

  #rename() {
    const id = uniqueId("title");
    const input = h("input", { id, class: "input", maxlength: 200, required: true, ".value": this.#conversation.title });
    const done = () => {
      this.#drawHead();
      this.headPlace.querySelector("button").focus();
    };
    const submit = async (event) => {
      event.preventDefault();
      try {
        const { title, version } = await store.rename(this.id, input.value.trim());
        Object.assign(this.#conversation, { version });
        this.title = title;
        done();
        this.dispatchEvent(new CustomEvent("changed"));
      } catch (error) {
        toast(error.message, { kind: "danger" });
      }
    };
    const keys = (event) => event.key === "Escape" && done();
    const form = h("form", { class: "rename", onsubmit: submit, onkeydown: keys }, h("label", { for: id }, hidden("Title")), input, h("button", { class: "button primary small" }, "Rename"), h("button", { type: "button", class: "button small", onclick: done }, "Cancel"));
    replace(this.headPlace, form);
    input.select();
  }

  async #delete() {
    const { id } = this;
    const text = h("p", null, "“", h("strong", null, this.#conversation.title || "Untitled"), "” is deleted for good, with its images.");
    if (!(await confirm({ title: "Delete this conversation?", content: text, action: "Delete", danger: true }))) return;
    try {
      await store.remove(id);
      this.#leave();
      this.dispatchEvent(new CustomEvent("deleted", { detail: id }));
      toast("Deleted.", { kind: "success" });
    } catch (error) {
      toast(error.message, { kind: "danger" });
    }
  }
}
customElements.define("conversation-reading", ConversationReading);

// Refusals before the message was stored, after which it is in the prompt again.
const NOT_STORED = new Set(["precondition_failed", "conversation_full", "validation_error", "database_busy", "database_down", "csrf_token_missing", "unreachable", "body_too_large"]);

// A reply with those that it has replaced, which stand before it.
function grouped(messages) {
  const groups = [];
  let earlier = [];
  for (const message of messages) {
    if (message.replaced_at) earlier.push(message);
    else {
      groups.push({ message, earlier: message.role === "assistant" ? earlier : [] });
      earlier = [];
    }
  }
  return groups;
}

function pendingQuestion(text, sources) {
  return h("li", { class: "message is-user" }, h("div", { class: "question" }, hidden("You: "), pictures(sources), text && h("p", { class: "question-text" }, text)));
}

function download(format, text, id) {
  const label = `Download as ${text}`;
  return h("a", { class: "button small", href: store.exportAddress(format, id), download: true, "aria-label": label, title: label }, icon("download", { size: 16 }), text);
}

function editForm(message, cancel, send) {
  const id = uniqueId("edit");
  const area = h("textarea", { id, class: "input", rows: Math.min(12, message.content.split("\n").length + 1), ".value": message.content });
  const submit = (event) => {
    event.preventDefault();
    if (area.value.trim() || message.images.length) send(area.value);
  };
  const foot = h("div", { class: "actions end" }, h("span", { class: "muted small" }, "What follows is deleted."), h("button", { type: "button", class: "button small", onclick: cancel }, "Cancel"), h("button", { class: "button primary small" }, "Send again"));
  return h("form", { class: "edit-form", onsubmit: submit, onkeydown: (event) => event.key === "Escape" && cancel() }, h("label", { for: id }, hidden("Your message")), area, foot);
}

function resultForm(calls, send) {
  const names = calls.map((one) => one.function?.name ?? "");
  const fields = names.map((name) => {
    const id = uniqueId("result");
    return h("div", { class: "field" }, h("label", { for: id }, "What ", h("code", null, name || "the tool"), " answers"), h("textarea", { id, class: "input mono", rows: 2, required: true }));
  });
  const submit = (event) => {
    event.preventDefault();
    const texts = [...event.target.querySelectorAll("textarea")].map(({ value }) => value);
    send(texts.map((content, at) => ({ role: "tool", tool_name: names[at], content })));
  };
  return h("form", { class: "result-form", onsubmit: submit }, fields, h("div", { class: "actions" }, h("button", { class: "button primary small" }, "Send the result")));
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
