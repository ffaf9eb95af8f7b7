// What happens now: one stream of events for the whole page, open while somebody listens and the page is seen.

import { address } from "./address.js";
import { changes, ended, session } from "./session.js";

const ROUTE = "/api/console/events";
const KINDS = ["queue", "generations", "backends", "errors", "models"];
const SOONEST = 2000;
const LATEST = 30_000;
// A page that is not seen lets go of its connection after this: a browser has six of them for all its pages.
const GRACE = 5000;

/** Tells of "change": how the stream is has changed. */
export const connection = new EventTarget();
const listeners = new Map(KINDS.map((kind) => [kind, new Set()]));
const last = new Map();
let source = null;
let state = "closed";
let timer = 0;
let pause = SOONEST;

/** How the stream is: "closed" (nobody listens), "connecting", "open" or "broken". */
export function connectionState() {
  return state;
}

/**
 * Hear of a kind: "queue", "generations", "backends", "errors" or "models". `callback` gets the route's own JSON and
 * how it is told, `{at}` in `performance.now()`; what is known already at once. Gives a function that ends it.
 */
export function live(kind, callback) {
  const mine = (told, moment) => callback(told, moment);
  listeners.get(kind).add(mine);
  if (last.has(kind)) tell(mine, last.get(kind));
  open();
  return () => {
    listeners.get(kind).delete(mine);
    if (!isWanted()) close("closed");
  };
}

function isWanted() {
  return [...listeners.values()].some((all) => all.size > 0);
}

function open() {
  if (source || document.hidden || !session() || !isWanted()) return;
  clearTimeout(timer);
  if (state === "closed") become("connecting");
  source = new EventSource(address(ROUTE));
  source.onopen = () => {
    pause = SOONEST;
    become("open");
  };
  source.onerror = () => lost();
  for (const kind of KINDS) source.addEventListener(kind, (event) => heard(kind, event.data));
}

// The browser tries again by itself, with the id of the last event; where it was refused it does not.
function lost() {
  become("broken");
  if (source?.readyState !== EventSource.CLOSED) return;
  source = null;
  ended();
  timer = setTimeout(open, pause);
  pause = Math.min(pause * 2, LATEST);
}

function close(next) {
  clearTimeout(timer);
  source?.close();
  source = null;
  become(next);
}

function heard(kind, data) {
  const event = { told: JSON.parse(data), moment: { at: performance.now() } };
  last.set(kind, event);
  listeners.get(kind).forEach((callback) => tell(callback, event));
}

function tell(callback, { told, moment }) {
  try {
    callback(told, moment);
  } catch (error) {
    reportError(error);
  }
}

function become(next) {
  if (state === next) return;
  state = next;
  connection.dispatchEvent(new Event("change"));
}

// Of another key nothing that was heard before is true.
function forget() {
  last.clear();
  close("closed");
  open();
}

let hiding = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(() => close("closed"), GRACE);
  else open();
});
addEventListener("online", () => {
  if (state === "broken") close("connecting");
  open();
});
changes.addEventListener("change", forget);
changes.addEventListener("ended", forget);
