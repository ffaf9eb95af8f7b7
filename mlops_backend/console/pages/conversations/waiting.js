// A question without a reply: one may be on its way in another tab, or what came of it is just being stored.

import * as store from "./store.js";

/** How long to wait for what came of a reply that was broken off: it is stored a moment later. */
export const SOON = [0, 250, 500, 1000, 2000];
const SELDOM = 5000;
// So many looks without one, and another reply is offered.
const AFTER = 2;

/**
 * Read a conversation until `isAnswered(conversation)`: soon at first, then every 5 s for as long as a reply is written
 * somewhere. Meanwhile `elsewhere(ids)` is called with the generations that do so, or `nothing()` where there is none.
 */
export async function untilAnswered(id, signal, { isAnswered, elsewhere, nothing }) {
  for (let times = 0; ; times += 1) {
    await pause(SOON[times] ?? SELDOM, signal);
    const running = await store.writing(id, signal);
    const found = await store.readOne(id, signal);
    if (signal.aborted || isAnswered(found)) return;
    if (running.length) elsewhere(running);
    else if (times >= AFTER) nothing();
    if (!running.length && times >= SOON.length - 1) return;
  }
}

/** Wait; a signal ends that. */
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
