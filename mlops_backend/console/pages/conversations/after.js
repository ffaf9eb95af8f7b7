// What stands behind the messages: what a person may do next, and what went wrong.

import { troubleNote } from "../../components/trouble-note.js";
import { h, replace } from "../../lib/element.js";
import { icon } from "../../lib/icons.js";
import { troubleOf } from "../../lib/trouble.js";
import { resultForm, unansweredNote } from "./parts.js";

/** <reading-after>. Tells of "again" (another reply is wanted) and "results" (what the tools answer). */
export class ReadingAfter extends HTMLElement {
  clear() {
    replace(this);
  }

  /** The last message has called tools. */
  offerResults(calls) {
    replace(this, resultForm(calls, (messages) => this.#tell("results", messages)));
  }

  /** No reply came; said once: who listens is not told the same with every look. */
  unanswered() {
    const note = unansweredNote(() => this.#tell("again"));
    if (this.firstChild?.className !== note.className) replace(this, note);
  }

  /** Say why nothing came of it, and let it be tried again if it can be. */
  explain(error, { again }) {
    const button = again && h("button", { type: "button", class: "button small", onclick: () => this.#tell("again") }, icon("refresh", { size: 16 }), "Try again");
    replace(this, troubleNote(troubleOf(error), button));
  }

  #tell(name, detail = null) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
customElements.define("reading-after", ReadingAfter);
