// What cannot be undone is asked about, in the browser's own dialog: it keeps the focus, Escape says no.

import { h, uniqueId } from "../lib/element.js";

/** <confirm-dialog>: a question with two answers. */
class ConfirmDialog extends HTMLElement {
  /** Ask; true if the action was chosen. `word`: what has to be typed before it can be. */
  ask({ title, text = "", action = "Continue", danger = false, word = null, content = null }) {
    const heading = uniqueId("confirm");
    const yes = h("button", { type: "submit", value: "yes", class: `button ${danger ? "danger" : "primary"}`, disabled: word !== null }, action);
    // No submit button: in a field Enter means the action, which is the only one.
    const no = h("button", { type: "button", class: "button", autofocus: word === null && !content, onclick: () => dialog.close("no") }, "Cancel");
    const form = h(
      "form",
      { method: "dialog" },
      h("h2", { id: heading }, title),
      text && h("p", null, text),
      content,
      word !== null && this.#typed(word, yes),
      h("div", { class: "actions end" }, no, yes),
    );
    const dialog = h("dialog", { class: "dialog", "aria-labelledby": heading }, form);
    this.append(dialog);
    dialog.showModal();
    return new Promise((resolve) => {
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        dialog.close(event.submitter?.value ?? "no");
      });
      dialog.addEventListener("close", () => {
        this.remove();
        resolve(dialog.returnValue === "yes");
      });
    });
  }

  #typed(word, yes) {
    const id = uniqueId("word");
    const look = (event) => (yes.disabled = event.target.value !== word);
    return h("div", { class: "field" }, h("label", { for: id }, "Type ", h("strong", null, word), " to go on"), h("input", { id, class: "input", autocomplete: "off", autofocus: true, oninput: look }));
  }
}
customElements.define("confirm-dialog", ConfirmDialog);

/** Ask `title`; resolves to true or false. Options: text, action, danger, word, content. */
export function confirm(options) {
  const element = document.createElement("confirm-dialog");
  (document.querySelector("console-app") ?? document.body).append(element);
  return element.ask(options);
}
