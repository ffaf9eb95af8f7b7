// A secret, the one time that it is shown.

import { copyButton } from "../../components/copy-button.js";
import { h, uniqueId } from "../../lib/element.js";
import { icon } from "../../lib/icons.js";
import { openDialog } from "./dialog.js";
import { snippets } from "./snippets.js";
import { exampleModel } from "./store.js";

/** Show a key's secret until its reader says that it is kept. */
export async function showSecret({ name, key, models }, { title = "The new key" } = {}) {
  const model = await exampleModel(models);
  const id = uniqueId("secret");
  const shown = h("input", { id, class: "input mono", readonly: true, ".value": key, onfocus: () => shown.select(), autofocus: true });
  const done = h("button", { type: "button", class: "button primary", onclick: () => opened.close() }, "I have kept it");
  const opened = openDialog(
    title,
    [
      h("p", null, "Of ", h("strong", null, name), "."),
      h("p", { class: "note warning" }, icon("alert"), h("span", null, "It is shown this once: the service keeps its hash only. Copy it to where it will be used.")),
      h("div", { class: "field" }, h("label", { for: id }, "Secret"), h("div", { class: "secret-row" }, shown, copyButton(key, { label: "Copy secret" }))),
      snippets({ key, model }),
      h("div", { class: "actions end" }, done),
    ],
    { keepOpen: true },
  );
  await opened.closed;
}
