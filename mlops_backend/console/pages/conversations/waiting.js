// A question without a reply: one may be on its way, or what came of it is just being stored.

import * as store from "./store.js";

/** How long to wait for what came of a reply that was broken off: it is stored a moment later. */
export const SOON = [0, 250, 500, 1000, 2000];
// So many looks without one, and another reply is offered.
const AFTER = 2;

/**
 * Read a conversation a few times, until `isAnswered(conversation)`, or until a reply to it is on its way, whose stream
 * is returned, unless it is in `shown`. `nothing()` is called when nothing came of the first looks.
 */
export async function untilAnswered(id, signal, { isAnswered, nothing, shown }) {
  for (const [times, wait] of SOON.entries()) {
    await pause(wait, signal);
    const running = (await store.running(id, signal)).filter((one) => !shown.has(one.id));
    const found = await store.readOne(id, signal);
    if (signal.aborted || isAnswered(found)) return null;
    if (running.length) return running.at(-1);
    if (times >= AFTER) nothing();
  }
  return null;
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
