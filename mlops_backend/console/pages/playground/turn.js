// A question, and the replies to it, side by side where two models were asked.

import { pictures } from "../../components/chat-parts.js";
import { h, hidden, replace, uniqueId } from "../../lib/element.js";
import { icon } from "../../lib/icons.js";
import { source } from "../../lib/attachments.js";
import "./reply.js";

/** <play-turn>: `.turn`; `replies` are its <play-reply> elements. Tells of "edited" with the new text. */
export class PlayTurn extends HTMLElement {
  turn = null;

  connectedCallback() {
    if (this.firstChild) return;
    this.question = h("div", { class: "question" });
    this.lanes = h("div", { class: "lanes" });
    this.append(this.question, this.lanes);
    this.#show();
    for (const reply of this.turn.replies) if (reply) this.#lane(reply);
  }

  get replies() {
    return [...this.lanes.children];
  }

  set last(last) {
    for (const reply of this.replies) reply.last = last;
  }

  /** A place for the reply of another model. */
  add(reply) {
    this.turn.replies.push(reply);
    return this.#lane(reply);
  }

  #lane(reply) {
    const element = h("play-reply", { ".reply": reply });
    this.lanes.append(element);
    this.lanes.classList.toggle("two", this.lanes.children.length > 1);
    return element;
  }

  #show() {
    const edit = h("button", { type: "button", class: "button plain small", onclick: () => this.#edit() }, icon("pencil", { size: 16 }), "Edit", hidden(" your message"));
    replace(this.question, hidden("You: "), pictures(this.turn.images.map(source)), this.turn.content && h("p", { class: "question-text" }, this.turn.content), h("div", { class: "question-foot" }, edit));
  }

  #edit() {
    const id = uniqueId("edit");
    const area = h("textarea", { id, class: "input", rows: Math.min(12, this.turn.content.split("\n").length + 1), ".value": this.turn.content });
    const cancel = () => {
      this.#show();
      this.question.querySelector("button:last-of-type")?.focus();
    };
    const submit = (event) => {
      event.preventDefault();
      if (area.value.trim() || this.turn.images.length) this.dispatchEvent(new CustomEvent("edited", { bubbles: true, detail: area.value }));
    };
    const keys = (event) => event.key === "Escape" && cancel();
    const foot = h("div", { class: "actions end" }, h("span", { class: "muted small" }, "What follows is dropped."), h("button", { type: "button", class: "button small", onclick: cancel }, "Cancel"), h("button", { class: "button primary small" }, "Send again"));
    replace(this.question, h("form", { class: "edit-form", onsubmit: submit, onkeydown: keys }, h("label", { for: id }, hidden("Your message")), pictures(this.turn.images.map(source)), area, foot));
    area.focus();
  }
}
customElements.define("play-turn", PlayTurn);
