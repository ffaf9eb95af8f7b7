// Whether what is shown is the present: a broken stream is shown, and mends itself.

import { connection, connectionState } from "../lib/live.js";
import { h, replace } from "../lib/element.js";

const WORDS = {
  open: ["good", "Live", "This page changes by itself."],
  connecting: ["", "Connecting…", "Asking for what happens now."],
  broken: ["warning", "Reconnecting…", "The connection broke off. What is shown may be old; it is tried again by itself."],
  closed: ["", "Paused", "Nothing is heard at present."],
};

/** <live-state>: a badge. */
class LiveState extends HTMLElement {
  #again = () => this.#draw();

  connectedCallback() {
    connection.addEventListener("change", this.#again);
    this.setAttribute("role", "status");
    this.#draw();
  }

  disconnectedCallback() {
    connection.removeEventListener("change", this.#again);
  }

  #draw() {
    const [kind, word, title] = WORDS[connectionState()];
    replace(this, h("span", { class: `badge dot ${kind}`, title }, word));
  }
}
customElements.define("live-state", LiveState);

/** The badge. */
export function liveState() {
  return h("live-state");
}
