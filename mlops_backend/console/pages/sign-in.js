// The door: a key is exchanged for a session.

import { field } from "../components/form-field.js";
import { h, replace } from "../lib/element.js";
import { icon } from "../lib/icons.js";
import { signIn } from "../lib/session.js";

export default class SignIn extends HTMLElement {
  reason = "";

  connectedCallback() {
    // A password's field would have the browser offer to keep the key.
    this.input = h("input", { name: "key", class: "input secret", autocomplete: "off", autocapitalize: "none", spellcheck: "false", required: true, placeholder: "mlb_…" });
    this.field = field("API key", this.input, { help: "It is sent once, and kept nowhere in this browser." });
    this.field.classList.add("with-toggle");
    this.input.after(this.#toggle());
    this.button = h("button", { type: "submit", class: "button primary large" }, "Sign in");
    const form = h("form", { class: "card sign-in", novalidate: true, onsubmit: (event) => this.#submit(event) }, ...this.#words(), this.field, this.button, this.#where());
    replace(this, h("main", { class: "alone", id: "main" }, form));
    this.input.focus();
  }

  #words() {
    const mark = h("span", { class: "brand-mark large", "aria-hidden": "true" }, "m");
    const reason = this.reason && h("p", { class: "note warning", role: "status" }, icon("alert"), h("span", null, `${this.reason} Sign in again to go on where you were.`));
    return [mark, h("h1", null, "Sign in"), h("p", { class: "muted" }, "Use a key of this service."), reason].filter(Boolean);
  }

  #where() {
    return h(
      "details",
      { class: "small muted" },
      h("summary", null, "Where do I find a key?"),
      h("p", null, "An administrator hands them out, on the page Keys. The first one is ", h("code", null, "API_KEY"), ": ", h("code", null, "make run"), " writes it to the file ", h("code", null, ".env"), "."),
    );
  }

  #toggle() {
    const button = h("button", { type: "button", class: "button plain icon-only small toggle", "aria-label": "Show the key", "aria-pressed": "false" }, icon("eye"));
    button.addEventListener("click", () => {
      const isShown = this.input.classList.toggle("secret") === false;
      button.setAttribute("aria-pressed", String(isShown));
      this.input.focus();
    });
    return button;
  }

  async #submit(event) {
    event.preventDefault();
    const key = this.input.value.trim();
    if (!key) return this.#refuse("Enter a key.");
    this.field.error = null;
    this.button.disabled = true;
    try {
      await signIn(key);
    } catch (error) {
      this.button.disabled = false;
      this.#refuse(error instanceof TypeError ? "The service cannot be reached, or this is no key." : error.message);
    }
    return undefined;
  }

  #refuse(text) {
    this.field.error = text;
    this.input.focus();
  }
}
