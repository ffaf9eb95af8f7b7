// The backends: how each is, what it has in memory and to do, and what an administrator may do with it.

import { confirm } from "../../components/confirm-dialog.js";
import { empty, loading } from "../../components/empty-state.js";
import { toast } from "../../components/toast-list.js";
import { json } from "../../lib/api.js";
import { h, replace } from "../../lib/element.js";
import { bytes, duration, number, relative } from "../../lib/format.js";
import { icon } from "../../lib/icons.js";
import { keep } from "../../lib/keep.js";
import { learnBackends } from "./names.js";
import { count, counter, section } from "./section.js";

const ROUTE = "/api/admin/backends";

/** Cards, one for each backend; hears of them and of their load. */
export function backendsSection() {
  const badge = counter();
  const trouble = h("div", { hidden: true });
  const grid = h("div", { class: "backends" }, loading());
  let told = null;
  let load = new Map();
  let at = 0;
  const draw = () => {
    if (!told) return;
    count(badge, told.backends.length);
    trouble.hidden = !told.file_error;
    replace(trouble, told.file_error && note("danger", `The file of backends is not in use: ${told.file_error}`));
    const since = (performance.now() - at) / 1000;
    if (told.backends.length) keep(grid, told.backends.map((one) => card(one, load.get(one.name), since)));
    else replace(grid, empty("No backend", "Name one in OLLAMA_BASE_URL, OPENAI_BACKENDS or BACKENDS_FILE.", { level: 3 }));
  };
  const hears = {
    backends: (heard, moment) => {
      [told, at] = [heard, moment.at];
      learnBackends(told.backends);
      draw();
    },
    queue: (heard) => {
      load = new Map((heard.backends ?? []).map((one) => [one.name, one]));
      draw();
    },
  };
  return { node: section("Backends", { count: badge }, trouble, grid), hears, tick: draw };
}

function card(backend, load, since) {
  const { name, url } = backend;
  const head = h("div", { class: "backend-head" }, h("h3", null, name), state(backend, since));
  const facts = [backend.kind === "ollama" ? "Ollama" : "OpenAI API", backend.version, backend.reachable && duration(backend.latency_ms), backend.reachable && `${number(backend.models)} ${backend.models === 1 ? "model" : "models"}`, ...backend.tags];
  return h(
    "article",
    { class: ["card", "backend", backend.drained && "drained"], dataset: { key: name } },
    head,
    h("p", { class: "muted small facts" }, name !== url && h("span", { class: "mono" }, url), facts.filter(Boolean).map((fact) => h("span", null, fact))),
    h("div", { class: "backend-body" }, slots(load, backend), memory(backend), said(backend)),
    buttons(backend),
  );
}

function state({ reachable, drained, breaker }, since) {
  const left = Math.max(0, Math.ceil(breaker.seconds - since));
  const marks = [
    !reachable ? mark("danger", "Away") : breaker.state === "closed" && !drained && mark("good", "Up"),
    drained && mark("warning", "Drained"),
    breaker.state === "open" && mark("danger", left ? `Left alone for ${left} s` : "Left alone"),
    breaker.state === "half-open" && mark("warning", "Being tried"),
  ];
  return h("span", { class: "row marks" }, marks);
}

function mark(kind, word) {
  return h("span", { class: `badge dot ${kind}` }, word);
}

// How many slots are taken: a bar where there is a bound, else a number.
function slots(load, backend) {
  const running = load?.running ?? 0;
  const most = backend.max_concurrency ?? load?.max_concurrency ?? null;
  const words = [`${number(running)}${most === null ? "" : ` of ${number(most)}`} running`, load?.waiting > 0 && `${number(load.waiting)} waiting`];
  const share = most ? Math.min(running / most, 1) : Number(running > 0);
  const bar = h("span", { class: "meter", "aria-hidden": "true" }, h("span", { class: ["meter-fill", share >= 1 && most && "full"], style: { "inline-size": `${share * 100}%` } }));
  return h("div", { class: "measure" }, h("div", { class: "row apart small" }, h("span", { class: "muted" }, "Load"), h("span", { class: "figure" }, words.filter(Boolean).join(" · "))), most !== null && bar);
}

function memory({ loaded_models: models, kind, reachable }) {
  if (!reachable) return null;
  if (models === null) return kind === "ollama" && h("p", { class: "muted small" }, "It does not say what it has loaded.");
  if (!models.length) return h("p", { class: "muted small" }, "No model is loaded.");
  const total = models.reduce((sum, model) => sum + (model.bytes ?? 0), 0);
  return h(
    "div",
    { class: "measure" },
    h("div", { class: "row apart small" }, h("span", { class: "muted" }, "In memory"), h("span", { class: "figure" }, total ? bytes(total) : number(models.length))),
    h("ul", { class: "loaded" }, models.map(inMemory)),
  );
}

function inMemory(model) {
  const share = model.bytes ? (model.vram_bytes ?? 0) / model.bytes : null;
  const where = share === null ? null : share >= 1 ? "all on the GPU" : share <= 0 ? "on the CPU" : `${Math.round(share * 100)}% on the GPU`;
  const ends = model.expires_at ? new Date(model.expires_at) : null;
  const isForever = ends && (Number.isNaN(ends.getTime()) || ends.getTime() - Date.now() > 30 * 86_400_000);
  const until = ends && (isForever ? "stays" : ends > Date.now() ? `unloads ${relative(ends)}` : "unloads now");
  const facts = [model.bytes !== null && bytes(model.bytes), where, model.context_length && `${number(model.context_length)} tokens of context`, until];
  return h("li", null, h("span", { class: "loaded-name" }, model.name), h("span", { class: "muted small facts" }, facts.filter(Boolean).map((fact) => h("span", null, fact))));
}

function said({ error, note: word }) {
  return [error && note("danger", error), word && note("", word)];
}

function note(kind, text) {
  return h("p", { class: `note ${kind}` }, kind && icon("alert", { size: 16 }), h("span", null, text));
}

function buttons(backend) {
  const { name, drained } = backend;
  const change = drained
    ? h("button", { type: "button", class: "button small", onclick: () => resume(name) }, icon("play", { size: 16 }), "Resume")
    : h("button", { type: "button", class: "button small", onclick: () => drain(name) }, icon("pause", { size: 16 }), "Drain");
  const look = h("button", { type: "button", class: "button small plain", onclick: (event) => probe(name, event.currentTarget) }, icon("refresh", { size: 16 }), "Probe");
  change.setAttribute("aria-label", `${drained ? "Resume" : "Drain"} ${name}`);
  look.setAttribute("aria-label", `Probe ${name}`);
  return h("div", { class: "actions backend-actions" }, change, look);
}

async function drain(name) {
  const text = "It gets no new generation. What it runs goes on to its end. Other replicas of this service have to be told themselves.";
  if (await confirm({ title: `Drain ${name}?`, text, action: "Drain", danger: true })) await told(name, "drain", () => `${name} is drained.`);
}

async function resume(name) {
  if (await confirm({ title: `Resume ${name}?`, text: "It gets generations again.", action: "Resume" })) await told(name, "resume", () => `${name} gets generations again.`);
}

async function probe(name, button) {
  button.disabled = true;
  await told(name, "probe", (found) => (found.reachable ? `${name} answered in ${duration(found.latency_ms)}.` : `${name} does not answer: ${found.error}`));
  button.disabled = false;
}

async function told(name, deed, words) {
  try {
    const found = await json("POST", `${ROUTE}/${name.split("/").map(encodeURIComponent).join("/")}/${deed}`);
    toast(words(found), { kind: found.reachable || deed !== "probe" ? "success" : "danger" });
  } catch (error) {
    toast(error.message, { kind: "danger" });
  }
}
