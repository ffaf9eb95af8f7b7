// Short words about what has happened, read out once by a screen reader.

import { h } from "../lib/element.js";
import { icon } from "../lib/icons.js";

const SECONDS = 6;

/** <toast-list>: a live region; a message stays while the pointer or the focus is on it, an error until it is closed. */
class ToastList extends HTMLElement {
  connectedCallback() {
    this.setAttribute("role", "status");
    this.setAttribute("aria-live", "polite");
  }

  show(message, { kind = "info" } = {}) {
    const close = h("button", { type: "button", class: "button plain icon-only small", "aria-label": "Close message", onclick: () => toast.remove() }, icon("close", { size: 16 }));
    const sign = { success: "check", danger: "alert" }[kind];
    const toast = h("div", { class: `toast ${kind}` }, sign && icon(sign), h("p", null, message), close);
    this.append(toast);
    if (kind !== "danger") leaveLater(toast);
  }
}
customElements.define("toast-list", ToastList);

/** Say that something happened; kind: "info", "success" or "danger". */
export function toast(message, options) {
  document.querySelector("toast-list")?.show(message, options);
}

function leaveLater(toast) {
  const look = () => {
    if (toast.matches(":hover, :focus-within")) setTimeout(look, 1000);
    else toast.remove();
  };
  setTimeout(look, SECONDS * 1000);
}
