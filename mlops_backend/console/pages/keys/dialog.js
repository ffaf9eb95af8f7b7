// A dialog of the page's own: a heading, what is in it, and its buttons.

import { h, uniqueId } from "../../lib/element.js";

/** Open a dialog; resolves when it is closed. `keepOpen`: Escape does not close it. */
export function openDialog(title, content, { wide = true, keepOpen = false } = {}) {
  const heading = uniqueId("dialog");
  const dialog = h("dialog", { class: ["dialog", wide && "wide"], "aria-labelledby": heading }, h("div", { class: "stack" }, h("h2", { id: heading }, title), content));
  (document.querySelector("console-app") ?? document.body).append(dialog);
  if (keepOpen) dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.showModal();
  const closed = new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve();
    });
  });
  return { dialog, closed, close: () => dialog.close() };
}
