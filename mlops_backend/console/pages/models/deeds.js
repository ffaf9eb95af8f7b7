// What is done to a model that is there; each is asked about first.

import { confirm } from "../../components/confirm-dialog.js";
import { field } from "../../components/form-field.js";
import { toast } from "../../components/toast-list.js";
import { call } from "../../lib/api.js";
import { h } from "../../lib/element.js";
import { bytes } from "../../lib/format.js";

/** Delete a model; `where`: of several backends the one that is meant. */
export async function deleteModel({ name, size }, where) {
  const text = [`${bytes(size)} are freed, and only a pull brings it back.`, where && `Several backends have it; it is deleted from ${where} alone.`].filter(Boolean).join(" ");
  if (await confirm({ title: `Delete ${name}?`, text, action: "Delete model", danger: true })) {
    await done("DELETE", "/api/delete", { model: name }, `${name} is deleted.`);
  }
}

/** Copy a model under another name: it takes no more room. */
export async function copyModel({ name }) {
  const input = h("input", { class: "input", required: true, pattern: "[\\w.\\-\\/:]+", autocomplete: "off", spellcheck: "false", autofocus: true, value: `${name.replace(/:.*$/, "")}-copy` });
  const content = field("New name", input, { help: "Letters, digits, and . _ - / :" });
  if (await confirm({ title: `Copy ${name}`, text: "The copy shares its files, and takes no more room.", action: "Copy model", content })) {
    await done("POST", "/api/copy", { source: name, destination: input.value.trim() }, `${input.value.trim()} is there.`);
  }
}

/** Take a model out of the memory of the backend that has it loaded. */
export async function unloadModel({ name }) {
  if (await confirm({ title: `Unload ${name}?`, text: "What runs goes on to its end. The next request loads it again, which takes a while.", action: "Unload" })) {
    await done("POST", "/api/generate", { model: name, keep_alive: 0, stream: false }, `${name} is being unloaded.`);
  }
}

async function done(method, path, body, words) {
  try {
    await call(method, path, { body });
    toast(words, { kind: "success" });
  } catch (error) {
    toast(error.message, { kind: "danger" });
  }
}
