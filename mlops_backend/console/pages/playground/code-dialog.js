// "Copy as code": the request in a language of one's choice.

import { copyButton } from "../../components/copy-button.js";
import { serviceAddress } from "../../lib/address.js";
import { h, uniqueId } from "../../lib/element.js";
import { LANGUAGES } from "./snippets.js";

// An image in base64 would fill the page; it is whole in what is copied.
const LONG = 2000;
let chosen = LANGUAGES[0][0];

/** Show what was sent as code. */
export function showCode(body) {
  const title = uniqueId("code");
  const name = uniqueId("language");
  const pre = h("pre", { class: "code", tabindex: "0", role: "group", "aria-label": "Code" });
  const made = (shown) => LANGUAGES.find(([key]) => key === chosen)[2](serviceAddress(), shown);
  const draw = () => (pre.textContent = made(shortened(body)));
  const choice = ([key, text]) =>
    h("label", { class: "segment" }, h("input", { type: "radio", name, value: key, ".checked": key === chosen, onchange: () => ((chosen = key), draw()) }), h("span", null, text));
  const dialog = h(
    "dialog",
    { class: "dialog wide code-dialog", "aria-labelledby": title },
    h(
      "div",
      { class: "stack" },
      h("h2", { id: title }, "The request as code"),
      h("p", { class: "muted" }, "Exactly what was sent. Put your key into the variable ", h("code", null, "API_KEY"), "; it is not shown here."),
      h("div", { class: "row apart" }, h("fieldset", { class: "segments" }, h("legend", { class: "visually-hidden" }, "Language"), LANGUAGES.map(choice)), copyButton(() => made(body))),
      pre,
      h("form", { method: "dialog", class: "actions end" }, h("button", { class: "button" }, "Close")),
    ),
  );
  draw();
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function shortened(value) {
  if (typeof value === "string") return value.length > LONG ? `${value.slice(0, 60)}… (${value.length} characters)` : value;
  if (Array.isArray(value)) return value.map(shortened);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, shortened(one)]));
}
