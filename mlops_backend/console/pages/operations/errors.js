// The generations that failed last, with the ids by which the log knows them.

import { copyButton } from "../../components/copy-button.js";
import { dataTable } from "../../components/data-table.js";
import { failure, loading } from "../../components/empty-state.js";
import { json } from "../../lib/api.js";
import { h, replace, uniqueId } from "../../lib/element.js";
import { bytes, clock, duration, money, number, timeNode } from "../../lib/format.js";
import { backendName, keyName, learn } from "./names.js";
import { ASKING, count, counter, section } from "./section.js";

const MOST = 50;
const OUTCOMES = { error: "Error", timeout: "Timed out", drained: "Cut by the drain" };

/** A table; hears of failures, and begins with those that the ledger knows of before; tells `changed` what it lists. */
export function errorsSection({ admin, changed }) {
  const badge = counter();
  const known = new Map();
  const table = dataTable({
    caption: "The last generations that failed",
    captionHidden: true,
    empty: ASKING,
    rowKey: (row) => row.id,
    columns: [
      { key: "ended_at", label: "When", cell: (row) => timeNode(row.ended_at, clock) },
      { key: "error", label: "What", header: true, cell: what },
      { key: "model", label: "Model", cell: (row) => row.model || "–" },
      ...(admin ? [{ key: "key_id", label: "Key", cell: (row) => keyName(row.key_id) }, { key: "backend", label: "Backend", class: "wide-only", cell: (row) => backendName(row.backend) }] : []),
      { key: "request_id", label: "Request", sort: false, cell: (row) => requestButton(row, admin) },
    ],
  });
  const take = (failures) => {
    failures.forEach((one) => known.set(one.id, one));
    const newest = [...known.values()].sort((one, other) => other.ended_at.localeCompare(one.ended_at)).slice(0, MOST);
    count(badge, newest.length);
    table.empty = "Nothing has failed.";
    table.rows = newest;
    changed(newest, newest.length < MOST);
  };
  const start = async () => {
    const query = { outcome: Object.keys(OUTCOMES).join(","), limit: MOST };
    const told = await json("GET", admin ? "/api/admin/usage/generations" : "/api/usage/generations", { query }).catch(() => null);
    if (told) take(told.generations.map(ofLedger));
  };
  return { node: section(admin ? "Last errors" : "Your last errors", { count: badge }, h("div", { class: "card flush" }, table)), hears: { errors: (told) => take(told.errors) }, start };
}

function ofLedger(row) {
  learn(row.key, row.name);
  const ended = new Date(new Date(row.started_at).getTime() + row.total_ms);
  return { ...row, key_id: row.key, ended_at: ended.toISOString() };
}

function what(row) {
  const [code, ...words] = (row.error || "").split(": ");
  return h("span", { class: "failed-what" }, h("span", null, h("span", { class: "badge danger" }, number(row.status)), " ", code || OUTCOMES[row.outcome] || row.outcome), words.length > 0 && h("span", { class: "muted small" }, words.join(": ")));
}

function requestButton(row, admin) {
  return h("button", { type: "button", class: "link mono", title: row.request_id, "aria-label": `Details of request ${row.request_id}`, onclick: () => details(row, admin) }, short(row.request_id));
}

function short(id) {
  return id.length > 13 ? `${id.slice(0, 12)}…` : id;
}

// All that the ledger knows of it; it is written a moment after the end.
async function details(row, admin) {
  const heading = uniqueId("details");
  const body = h("div", null, loading());
  const close = h("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Close");
  const dialog = h("dialog", { class: "dialog wide", "aria-labelledby": heading }, h("div", { class: "stack" }, h("h2", { id: heading }, "A generation that failed"), body, h("div", { class: "actions end" }, close)));
  dialog.addEventListener("close", () => dialog.remove());
  (document.querySelector("console-app") ?? document.body).append(dialog);
  dialog.showModal();
  try {
    const told = await json("GET", `${admin ? "/api/admin/usage" : "/api/usage"}/generations/${encodeURIComponent(row.id)}`);
    learn(told.key, told.name);
    replace(body, facts(told, admin));
  } catch (error) {
    replace(body, failure(error, { title: "Nothing is known of it", level: 3 }));
  }
}

function facts(told, admin) {
  const list = [
    ["Request", h("span", { class: "row" }, h("code", null, told.request_id), copyButton(told.request_id, { label: "Copy the request's id", compact: true }))],
    ["Began", timeNode(told.started_at)],
    ["Error", told.error || told.outcome],
    ["Status", number(told.status)],
    ["Route", h("code", null, told.route)],
    ["Model", told.requested_model ? `${told.model} (asked for as ${told.requested_model})` : told.model],
    ["Key", told.name || told.key],
    admin && ["Backend", backendName(told.backend)],
    told.passed_over && admin && ["Passed over", told.passed_over],
    told.end_user && ["End user", told.end_user],
    ["Tokens", `${number(told.prompt_tokens)} prompt, ${number(told.completion_tokens)} completion${told.estimated ? " (estimated)" : ""}`],
    ["Cost", money(told.price)],
    ["First token", duration(told.first_byte_ms)],
    ["Took", duration(told.total_ms)],
    ["Sent", bytes(told.bytes_out)],
  ];
  return h("dl", { class: "facts-list" }, list.filter(Boolean).map(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}
