// Which model is to be pulled.

import { confirm } from "../../components/confirm-dialog.js";
import { field } from "../../components/form-field.js";
import { h } from "../../lib/element.js";
import { pull } from "./pulls.js";

/** Ask for a name, and begin. */
export async function askForPull() {
  const input = h("input", { class: "input", required: true, autocomplete: "off", autocapitalize: "off", spellcheck: "false", autofocus: true, placeholder: "llama3.2:3b" });
  const content = field("Model", input, { help: "A name of Ollama's library, or the address of one on another registry, such as hf.co/owner/model. It goes to the first backend." });
  if (await confirm({ title: "Pull a model", action: "Pull", content }) && input.value.trim()) pull(input.value.trim());
}
