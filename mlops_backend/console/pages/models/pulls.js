// Pulls under way. They go on while the console is open, whichever page is shown.

import { lines } from "../../lib/api.js";
import { changes } from "../../lib/session.js";

/** Tells of "change". */
export const pulls = new EventTarget();
const all = [];
const SPAN = 5000;
const OFTEN = 200;

/** Those that run, and those that have ended and were not put away. */
export function current() {
  return [...all];
}

/** Begin to pull a model; one that is being pulled already goes on. */
export function pull(model) {
  if (all.some((one) => one.model === model && one.state === "running")) return;
  all.splice(0, all.length, ...all.filter((one) => one.model !== model));
  const mine = { model, state: "running", status: "asking", layers: new Map(), measured: [], error: "", stop: new AbortController() };
  all.push(mine);
  tell();
  run(mine);
}

/** Stop one that runs: what it has fetched is kept by Ollama, and a second pull goes on from there. */
export function cancel(mine) {
  mine.stop.abort();
}

/** Forget one that has ended. */
export function putAway(mine) {
  all.splice(all.indexOf(mine), 1);
  tell();
}

/** How far it is: bytes in all, those that are here, the speed in bytes a second, and the share, `null` while unknown. */
export function progress({ layers, measured }) {
  let total = 0;
  let completed = 0;
  for (const layer of layers.values()) {
    total += layer.total;
    completed += layer.completed;
  }
  const [first, last] = [measured[0], measured.at(-1)];
  const speed = measured.length > 1 && last.at > first.at ? ((last.completed - first.completed) / (last.at - first.at)) * 1000 : null;
  return { total, completed, speed, share: total ? completed / total : null };
}

async function run(mine) {
  try {
    for await (const line of lines("POST", "/api/pull", { body: { model: mine.model }, signal: mine.stop.signal })) {
      if (line.error) throw new Error(typeof line.error === "string" ? line.error : line.error.message);
      take(mine, line);
    }
    end(mine, mine.status === "success" ? "done" : "failed", "It ended before it was complete.");
  } catch (error) {
    end(mine, mine.stop.signal.aborted ? "cancelled" : "failed", error.message);
  }
}

function take(mine, { status, digest, total, completed }) {
  mine.status = status ?? mine.status;
  if (digest && total) mine.layers.set(digest, { total, completed: completed ?? mine.layers.get(digest)?.completed ?? 0 });
  const now = performance.now();
  mine.measured.push({ at: now, completed: progress(mine).completed });
  while (mine.measured.length > 2 && now - mine.measured[0].at > SPAN) mine.measured.shift();
  tellLater();
}

function end(mine, state, error) {
  mine.state = state;
  mine.error = state === "failed" ? error : "";
  mine.measured = [];
  tell();
}

let waiting = 0;
function tellLater() {
  waiting ||= setTimeout(tell, OFTEN);
}

function tell() {
  clearTimeout(waiting);
  waiting = 0;
  pulls.dispatchEvent(new Event("change"));
}

// Who signs out ends what they pull; the next one sees nothing of it.
function endAll() {
  all.splice(0).forEach((one) => one.stop.abort());
  tell();
}
changes.addEventListener("change", endAll);
changes.addEventListener("ended", endAll);

// Who leaves the console ends what it pulls; the browser asks first.
addEventListener("beforeunload", (event) => {
  if (all.some((one) => one.state === "running")) event.preventDefault();
});
