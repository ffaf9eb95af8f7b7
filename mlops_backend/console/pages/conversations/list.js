// The list of conversations, a page at a time, and the search in them.

import { failure, loading } from "../../components/empty-state.js";
import { h, replace, uniqueId } from "../../lib/element.js";
import { number, relative, timeNode } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { hash } from "../../lib/router.js";
import { list } from "./store.js";

/** <conversation-list>: `find(search)`, `refresh()`, `.selected`. Tells of "sought" with the words, and of "listed". */
export class ConversationList extends HTMLElement {
  #search = "";
  #selected = null;
  #asking = null;

  connectedCallback() {
    if (this.firstChild) return;
    const id = uniqueId("search");
    this.words = h("input", { id, type: "search", class: "input", placeholder: 'words, "a phrase", begin*', maxlength: 200, ".value": this.#search });
    this.fault = h("p", { class: "field-error", role: "alert", hidden: true });
    const form = h("form", { role: "search", class: "search", onsubmit: (event) => this.#submit(event) }, h("label", { for: id, class: "visually-hidden" }, "Search in conversations"), this.words, h("button", { class: "button icon-only", "aria-label": "Search" }, icon("search")));
    this.words.addEventListener("search", () => !this.words.value && this.#search && this.#tell());
    this.items = h("ul", { class: "conversation-items" });
    this.place = h("div", { class: "list-place" });
    replace(this, form, this.fault, h("nav", { "aria-label": "Conversations" }, this.items, this.place));
  }

  disconnectedCallback() {
    this.#asking?.abort();
  }

  set selected(id) {
    this.#selected = id;
    for (const link of this.items.querySelectorAll("a")) mark(link, id);
  }

  /** Show the first page of what has these words; of all without. */
  async find(search) {
    this.#search = search;
    this.words.value = search;
    replace(this.items);
    replace(this.place, loading("Reading the list…"));
    await this.#page(null);
  }

  /** Read the first page again, as something has changed. */
  refresh() {
    return this.#page(null);
  }

  #submit(event) {
    event.preventDefault();
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new CustomEvent("sought", { detail: this.words.value.trim() }));
  }

  async #page(after) {
    this.#asking?.abort();
    const mine = (this.#asking = new AbortController());
    try {
      const { conversations, next } = await list({ search: this.#search, after, signal: mine.signal });
      this.#show(conversations, next, Boolean(after));
    } catch (error) {
      if (!mine.signal.aborted) this.#refuse(error, after);
    }
  }

  #show(conversations, next, continues) {
    this.fault.hidden = true;
    const items = conversations.map((one) => this.#item(one));
    if (continues) this.items.append(...items);
    else replace(this.items, items);
    if (continues) items[0]?.querySelector("a").focus();
    replace(this.place, this.#below(next));
    this.dispatchEvent(new CustomEvent("listed", { detail: { conversations, search: this.#search } }));
  }

  #below(next) {
    if (next) return h("button", { type: "button", class: "button more", onclick: () => this.#page(next) }, "More");
    if (this.items.firstChild) return null;
    return h("p", { class: "muted list-empty" }, this.#search ? "Nothing has these words." : "Nothing is kept yet.");
  }

  #refuse(error, after) {
    if (error.status !== 422) {
      replace(this.place, failure(error, { title: "The list cannot be read", again: () => this.#page(after) }));
      return;
    }
    this.fault.textContent = error.details?.[0]?.msg ?? error.message;
    this.fault.hidden = false;
    replace(this.place);
  }

  #item({ id, title, updated_at: updated, message_count: count, match }) {
    const parameters = { id, search: this.#search, message: match?.message_id };
    const link = h(
      "a",
      { href: hash("/conversations", parameters), dataset: { id } },
      h("span", { class: "item-title" }, title || "Untitled"),
      match?.excerpt && h("span", { class: "item-excerpt" }, match.excerpt),
      h("span", { class: "item-about muted" }, timeNode(updated, relative), h("span", null, count === 1 ? "1 message" : `${number(count)} messages`)),
    );
    mark(link, this.#selected);
    return h("li", null, link);
  }
}
customElements.define("conversation-list", ConversationList);

function mark(link, id) {
  if (link.dataset.id === id) link.setAttribute("aria-current", "true");
  else link.removeAttribute("aria-current");
}
