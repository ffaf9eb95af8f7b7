// A stream with an address (docs/streams.md), read to its end, whatever becomes of connections on the way.

import { call, textLines } from "../../lib/api.js";
import { cutError } from "../../lib/trouble.js";
import { pause } from "./waiting.js";

// Before the first tries; before each further one as before the last of these.
const PAUSES = [500, 1000, 2000, 5000];
// For so long it is tried in vain.
const PATIENCE = 120_000;
// A network may lose a connection without a word: so long a silence is asked about.
const QUIET = 60_000;
// What tells nothing of the stream itself: a proxy that has no service behind it, or a service that is about to stop.
const PASSING = new Set(["error", "draining", "unavailable"]);

/**
 * The objects of a stream, from its beginning. A lost connection is made again, and what was read is not read twice:
 * `lost(true)` is called first, `lost(false)` when there is one again. `opened(response)` gets each answer.
 * Throws ApiError where it is refused, what was lost last when nothing came for two minutes, and the signal's reason.
 */
export async function* objectsOf(id, { signal, opened, lost }) {
  let after = 0;
  let tries = 0;
  let since = 0;
  for (;;) {
    const hearing = listening(signal);
    let isOpen = false;
    let trouble = cutError();
    try {
      const response = await call("GET", `/api/llm/streams/${id}`, { query: { after }, headers: { Accept: "application/x-ndjson" }, signal: hearing.signal });
      if (response.status === 204) throw cutError();
      isOpen = true;
      opened(response);
      if (tries) lost(false);
      for await (const line of textLines(response)) {
        hearing.heard();
        const part = line.trim() ? JSON.parse(line) : {};
        after += 1;
        tries = 0;
        yield part;
        if (part.done || part.error !== undefined) return;
      }
    } catch (error) {
      const isQuiet = hearing.signal.aborted;
      if (signal.aborted || !(isQuiet || isLost(error))) throw error;
      if (isQuiet && isOpen) {
        tries = 0;
        continue;
      }
      trouble = isQuiet ? cutError() : error;
    } finally {
      hearing.end();
    }
    if (!tries) since = performance.now();
    else if (performance.now() - since > PATIENCE) throw trouble;
    lost(true);
    await pause(PAUSES[tries] ?? PAUSES.at(-1), signal);
    tries += 1;
  }
}

// Reading throws a TypeError, and half a line is no JSON.
function isLost({ name, status, code }) {
  if (name === "ApiError") return status === 0 || (status >= 500 && PASSING.has(code));
  return name === "TypeError" || name === "SyntaxError";
}

// Its signal ends a request about which nothing is heard for a while, or whose reader leaves.
function listening(signal) {
  const ending = new AbortController();
  const end = () => ending.abort(signal.reason);
  let timer = setTimeout(end, QUIET);
  signal.addEventListener("abort", end);
  return {
    signal: ending.signal,
    heard() {
      clearTimeout(timer);
      timer = setTimeout(end, QUIET);
    },
    end() {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
    },
  };
}
