// The generations that run or wait; each can be ended.

import { confirm } from "../../components/confirm-dialog.js";
import { dataTable } from "../../components/data-table.js";
import { toast } from "../../components/toast-list.js";
import { json } from "../../lib/api.js";
import { h } from "../../lib/element.js";
import { bytes, number } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { backendName, keyName, learn } from "./names.js";
import { classOf, waited } from "./queue.js";
import { ASKING, count, counter, section } from "./section.js";

const STATES = {
  queued: ["warning", "Waiting", "It waits for a backend."],
  asked: ["accent", "Starting", "The backend loads the model or reads the prompt."],
  answering: ["good", "Answering", "It answers."],
};

/** A table; hears of what runs. */
export function runningSection({ admin }) {
  const badge = counter();
  const more = h("p", { class: "muted small", hidden: true });
  let told = null;
  let at = 0;
  const table = dataTable({
    caption: admin ? "Generations that run or wait" : "Your generations that run or wait",
    captionHidden: true,
    empty: ASKING,
    rowKey: (row) => row.name,
    columns: [
      { key: "state", label: "State", cell: (row) => stateOf(row.state) },
      { key: "model", label: "Model", header: true, cell: (row) => [row.model || "–", admin && h("span", { class: "muted small narrow-only" }, keyName(row.key_id))] },
      ...(admin ? [{ key: "key_name", label: "Key", class: "wide-only", cell: (row) => keyName(row.key_id) }, { key: "backend", label: "Backend", class: "wide-only", cell: (row) => backendName(row.backend) }] : []),
      { key: "class", label: "Class", class: "wide-only", cell: (row) => classOf(row.class) },
      { key: "seconds", label: "Age", align: "end", cell: (row) => waited(row.seconds + (performance.now() - at) / 1000) },
      { key: "bytes_out", label: "Sent", align: "end", class: "wide-only", cell: (row) => bytes(row.bytes_out) },
      { key: "end", label: "End", hideLabel: true, sort: false, class: "actions-cell", cell: cancelButton },
    ],
  });
  const draw = () => {
    if (!told) return;
    count(badge, told.count);
    table.empty = admin ? "Nothing runs." : "None of yours runs.";
    table.rows = named(told.generations);
    const left = told.count - told.generations.length;
    more.hidden = left <= 0;
    more.textContent = `${number(left)} more are not shown.`;
  };
  const hears = {
    generations: (heard, moment) => {
      [told, at] = [heard, moment.at];
      told.generations.forEach((one) => learn(one.key_id, one.key_name));
      draw();
    },
  };
  const title = admin ? "Running generations" : "Your running generations";
  return { node: section(title, { count: badge }, h("div", { class: "card flush" }, table), more), hears, tick: () => told?.count && draw() };
}

// A client may give several requests one id.
function named(generations) {
  const seen = new Map();
  return generations.map((one) => {
    const times = (seen.get(one.id) ?? 0) + 1;
    seen.set(one.id, times);
    return { ...one, name: `${one.id} ${times}` };
  });
}

function stateOf(name) {
  const [kind, word, title] = STATES[name] ?? ["", name, ""];
  return h("span", { class: `badge dot ${kind}`, title }, word);
}

function cancelButton(row) {
  const props = { type: "button", class: "button small danger-quiet", "aria-label": `Cancel ${row.model} (${row.id})`, title: row.id, onclick: () => cancel(row) };
  return h("button", props, icon("stop", { size: 16 }), h("span", null, "Cancel"));
}

async function cancel({ id, model }) {
  const text = `Request ${id}. Whoever waits for its answer is told that it was ended; what it has said so far is counted.`;
  if (!(await confirm({ title: `Cancel this generation of ${model}?`, text, action: "Cancel generation", danger: true }))) return;
  try {
    await json("DELETE", `/api/llm/generations/${encodeURIComponent(id)}`);
    toast("The generation is ended.", { kind: "success" });
  } catch (error) {
    toast(error.status === 404 ? "It had ended already." : error.message, { kind: error.status === 404 ? "info" : "danger" });
  }
}
