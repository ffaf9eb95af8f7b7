// The messages of a conversation, from its end on; what is shown already, and has not changed, is left alone.

import { h, replace } from "../../lib/element.js";
import { messageView } from "./message.js";
import { editForm, grouped } from "./parts.js";

// So many are shown at first, and so many more each time: to draw thousands takes seconds.
const PORTION = 60;

/** <message-list>: `show(conversation)`, `add(elements)`, `goTo(id)`, `edit(message, send)`. Tells of "act" ({name, id}). */
export class MessageList extends HTMLElement {
  #shown = new Map();
  #conversation = { id: null, messages: [] };
  #first = Infinity;

  connectedCallback() {
    if (this.firstChild) return;
    this.earlier = h("div", { class: "earlier-messages" });
    this.list = h("ol", { class: "messages", onclick: (event) => this.#act(event) });
    this.append(this.earlier, this.list);
  }

  /** Show what is stored. */
  show(conversation) {
    this.#conversation = conversation;
    const groups = grouped(conversation.messages);
    this.#first = Math.min(this.#first, Math.max(groups.length - PORTION, 0));
    this.#offerEarlier();
    const wanted = groups.slice(this.#first).map((group) => [group.message.id, this.#viewOf(group)]);
    this.#shown = new Map(wanted);
    const elements = wanted.map(([, { element }]) => element);
    elements.forEach((one, at) => one !== this.list.children[at] && this.list.insertBefore(one, this.list.children[at] ?? null));
    while (this.list.children.length > elements.length) this.list.lastChild.remove();
    elements.forEach((one, at) => one.classList.toggle("is-last", at === elements.length - 1));
  }

  /** What is on its way; with `again` it takes the place of the last reply. */
  add(elements, { again = false } = {}) {
    if (again) this.list.querySelector(".message.is-assistant.is-last")?.remove();
    this.list.append(...elements);
  }

  /** Go to a message, and show it if it is not. */
  goTo(id) {
    const at = grouped(this.#conversation.messages).findIndex(({ message }) => message.id === id);
    if (at >= 0 && at < this.#first) this.#showFrom(at);
    const found = this.#shown.get(id)?.element;
    found?.scrollIntoView({ block: "center" });
    found?.focus({ preventScroll: true });
  }

  /** Let a message be written anew in its place. */
  edit(message, send) {
    const place = this.#shown.get(message.id).element;
    const before = place.firstChild;
    const cancel = () => {
      replace(place, before);
      before.querySelector('[data-action="edit"]').focus();
    };
    const form = editForm(message, cancel, (text) => {
      replace(place, before);
      send(text);
    });
    replace(place, form);
    form.querySelector("textarea").focus();
  }

  #viewOf({ message, earlier }) {
    const state = JSON.stringify([message, earlier.length]);
    const before = this.#shown.get(message.id);
    if (before?.state === state) return before;
    return { state, element: messageView(message, { conversation: this.#conversation.id, earlier }) };
  }

  #offerEarlier() {
    const more = () => {
      const place = document.scrollingElement;
      const before = place.scrollHeight;
      this.#showFrom(Math.max(this.#first - PORTION, 0));
      place.scrollTop += place.scrollHeight - before;
      (this.earlier.querySelector("button") ?? this.list.querySelector(".message"))?.focus({ preventScroll: true });
    };
    replace(this.earlier, this.#first > 0 && h("button", { type: "button", class: "button small", onclick: more }, `Show earlier messages (${this.#first})`));
  }

  #showFrom(first) {
    this.#first = first;
    this.show(this.#conversation);
  }

  #act(event) {
    const name = event.target.closest("[data-action]")?.dataset.action;
    const id = event.target.closest(".message")?.id;
    if (name && id) this.dispatchEvent(new CustomEvent("act", { detail: { name, id } }));
  }
}
customElements.define("message-list", MessageList);
