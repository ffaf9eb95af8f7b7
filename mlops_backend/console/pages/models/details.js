// All that a model says of itself.

import { copyButton } from "../../components/copy-button.js";
import { failure, loading } from "../../components/empty-state.js";
import { json } from "../../lib/api.js";
import { h, replace, uniqueId } from "../../lib/element.js";
import { bytes, number, timeNode } from "../../lib/format.js";
import { contextOf } from "./catalogue.js";

const TEXTS = [["parameters", "Parameters"], ["system", "System prompt"], ["template", "Template"], ["license", "Licence"]];

/** Show a model in a dialog. */
export async function showDetails(row) {
  const heading = uniqueId("model");
  const body = h("div", null, loading());
  const close = h("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Close");
  const dialog = h("dialog", { class: "dialog wide", "aria-labelledby": heading }, h("div", { class: "stack" }, h("h2", { id: heading }, row.name), body, h("div", { class: "actions end" }, close)));
  dialog.addEventListener("close", () => dialog.remove());
  (document.querySelector("console-app") ?? document.body).append(dialog);
  dialog.showModal();
  try {
    const told = await json("POST", "/api/show", { body: { model: row.name } });
    replace(body, facts(row, told), TEXTS.map(([name, label]) => text(label, told[name])));
  } catch (error) {
    replace(body, failure(error, { title: "It says nothing of itself", level: 3 }));
  }
}

function facts(row, told) {
  const { details = {}, capabilities = [], model_info: info = {} } = told;
  const list = [
    ["Name", h("span", { class: "row" }, h("code", null, row.name), copyButton(row.name, { label: "Copy the model's name", compact: true }))],
    ["Size", bytes(row.size)],
    ["Family", details.family || row.family || "–"],
    ["Parameters", details.parameter_size || row.parameters || "–"],
    ["Quantisation", details.quantization_level || row.quantisation || "–"],
    ["Format", details.format || row.format || "–"],
    ["Context", contextOf(told) === null ? "–" : `${number(contextOf(told))} tokens`],
    ["Can", capabilities.length ? h("span", { class: "chips" }, capabilities.map((one) => h("span", { class: "badge" }, one))) : "–"],
    ["Architecture", info["general.architecture"] ?? "–"],
    ["Backends", row.places.length ? row.places.map((one) => one.name).join(", ") : "–"],
    ["Changed", row.modified_at ? timeNode(row.modified_at) : "–"],
    ["Digest", row.digest ? h("code", { class: "small" }, row.digest) : "–"],
  ];
  return h("dl", { class: "facts-list" }, list.map(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}

function text(label, content) {
  const whole = Array.isArray(content) ? content.join("\n\n") : content;
  if (!whole) return null;
  return h("details", { class: "model-text" }, h("summary", null, label), h("pre", { class: "code", tabindex: "0", role: "region", "aria-label": label }, whole));
}
