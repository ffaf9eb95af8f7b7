// The models as a table, with what may be done to each.

import { dataTable } from "../../components/data-table.js";
import { h, replace } from "../../lib/element.js";
import { bytes, number, relative, timeNode } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { may } from "../../lib/session.js";
import { contextOf, mayChange } from "./catalogue.js";
import { copyModel, deleteModel, unloadModel } from "./deeds.js";
import { showDetails } from "./details.js";

const EMPTY = "No model is here yet.";

/** The table of a catalogue: `node`, `summary`, `draw()` and `filter(text)`. */
export function modelTable(catalogue) {
  const summary = h("p", { class: "muted small", role: "status" });
  const table = dataTable({
    caption: "Models",
    captionHidden: true,
    sort: { key: "name", descending: false },
    rowKey: (row) => row.name,
    columns: [
      { key: "name", label: "Model", header: true, cell: (row) => nameOf(row, catalogue) },
      { key: "size", label: "Size", align: "end", class: "wide-only", cell: (row) => bytes(row.size) },
      { key: "parameters", label: "Parameters", align: "end", class: "wide-only", sort: (row) => parseFloat(row.parameters) || null, cell: (row) => row.parameters || "–" },
      { key: "family", label: "Family", class: "wide-only", cell: (row) => row.family || "–" },
      { key: "quantisation", label: "Quantisation", class: "wide-only", cell: (row) => row.quantisation || "–" },
      { key: "context", label: "Context", align: "end", class: "wide-only", sort: (row) => contextOf(catalogue.description(row)), cell: (row) => number(contextOf(catalogue.description(row))) },
      { key: "places", label: "Backends", sort: (row) => row.places.length, cell: (row) => places(row, catalogue) },
      { key: "modified_at", label: "Changed", class: "wide-only", cell: (row) => (row.modified_at ? timeNode(row.modified_at, (value) => relative(value)) : "–") },
      { key: "more", label: "Actions", hideLabel: true, sort: false, class: "actions-cell", cell: (row) => buttons(row, catalogue) },
    ],
  });
  let filter = "";
  const draw = () => {
    const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = catalogue.models.filter((row) => words.every((word) => `${row.name} ${row.family} ${row.quantisation}`.toLowerCase().includes(word)));
    table.empty = filter ? "No model fits this." : mayChange() ? `${EMPTY} Pull one, such as llama3.2.` : EMPTY;
    table.rows = rows;
    const total = rows.reduce((sum, row) => sum + (row.size ?? 0), 0);
    const loaded = rows.filter((row) => row.loaded).length;
    const facts = [`${number(rows.length)} ${rows.length === 1 ? "model" : "models"}`, total > 0 && bytes(total), loaded > 0 && `${number(loaded)} loaded`, silent(catalogue.partial.length)];
    const text = facts.filter(Boolean).join(" · ");
    if (summary.textContent !== text) replace(summary, text);
  };
  return { node: table, summary, draw, filter: (text) => ((filter = text), draw()) };
}

function silent(count) {
  return count > 0 && (count === 1 ? "1 backend does not answer" : `${number(count)} backends do not answer`);
}

function nameOf(row, catalogue) {
  return h("span", { class: "model-name" }, h("button", { type: "button", class: "link", onclick: () => showDetails(row, catalogue) }, row.name), row.loaded && h("span", { class: "badge dot good" }, "Loaded"), h("span", { class: "muted small narrow-only" }, bytes(row.size)));
}

function places(row, catalogue) {
  if (!row.places.length) return "–";
  const all = row.places.length === catalogue.backends.length && catalogue.backends.length > 1;
  return h("span", { class: "chips" }, all ? h("span", { class: "badge", title: row.places.map((one) => one.name).join(", ") }, `all ${number(row.places.length)}`) : row.places.map((one) => h("span", { class: "badge", title: one.url }, one.name)));
}

function buttons(row, catalogue) {
  if (!mayChange()) return null;
  const ollama = row.places.find((one) => one.kind === "ollama");
  if (row.places.length && !ollama) return null;
  const where = ollama && row.places.length > 1 ? ollama.name : null;
  return h(
    "span",
    { class: "row-actions" },
    row.loaded && may("inference") && action(`Unload ${row.name}`, "eject", () => unloadModel(row)),
    action(`Copy ${row.name}`, "copy", () => copyModel(row)),
    action(`Delete ${row.name}`, "trash", () => deleteModel(row, where, catalogue), "danger-quiet"),
  );
}

function action(label, name, onclick, kind = "plain") {
  return h("button", { type: "button", class: `button plain icon-only small ${kind}`, "aria-label": label, title: label.split(" ")[0], onclick }, icon(name, { size: 16 }));
}
