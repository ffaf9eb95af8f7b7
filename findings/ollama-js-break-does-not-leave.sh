#!/usr/bin/env bash
# With Ollama's library for JavaScript, `break` out of a stream does not leave it: the server writes on to the end.
#
# `for await (const part of await ollama.chat({ stream: true, … })) break;` ends the loop and nothing else. The library reads
# the body with a reader of its own, which it does not cancel when its loop is left. The connection stays, also
# when garbage is collected, and the model goes on with an answer that nobody reads. A loop over the body of `fetch` itself
# closes the connection at `break`. What does leave is `abort()` of the stream.
#
# For whom: programs that stop reading at a word that they looked for, and servers that free a slot when a client leaves.
# Versions: ollama 0.6.4, the newest on 2026-11-30; Node 20.
set -euo pipefail
command -v npm >/dev/null || { echo "npm is not here"; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
printf '{"type": "module", "private": true}\n' >package.json
timeout 300 npm install --silent --no-audit --no-fund --ignore-scripts ollama@0.6.4 >/dev/null
cat >seen.mjs <<'JS'
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { Ollama } from "ollama";

const { version } = JSON.parse(readFileSync("node_modules/ollama/package.json"));
const LINES = 40;
let over;

// An Ollama that says a word each twentieth of a second, as long as somebody is there, and tells how that ended.
const server = createServer((request, response) => {
  request.resume();
  request.on("end", () => {
    response.setHeader("Content-Type", "application/x-ndjson");
    let lines = 0;
    const shared = { model: "m", created_at: "2026-01-01T00:00:00Z" };
    const timer = setInterval(() => {
      lines += 1;
      const end = lines === LINES ? { done: true, done_reason: "stop", prompt_eval_count: 2, eval_count: LINES } : { done: false };
      response.write(JSON.stringify({ ...shared, message: { role: "assistant", content: "word " }, ...end }) + "\n");
      if (lines === LINES) response.end();
    }, 50);
    response.on("close", () => {
      clearInterval(timer);
      over(lines);
    });
  });
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const host = `http://127.0.0.1:${server.address().port}`;
const client = new Ollama({ host });
const chat = { model: "m", messages: [{ role: "user", content: "Go on and on." }], stream: true };

// How many lines the server had written when it was over.
async function written(reading) {
  const all = new Promise((resolve) => (over = resolve));
  await reading();
  const collecting = setInterval(() => globalThis.gc(), 100);
  const lines = await all;
  clearInterval(collecting);
  return lines;
}

const seen = {
  "ollama, read to its end": await written(async () => {
    for await (const _ of await client.chat(chat));
  }),
  "fetch, break at the first piece": await written(async () => {
    const response = await fetch(`${host}/api/chat`, { method: "POST", body: JSON.stringify(chat) });
    for await (const _ of response.body) break;
  }),
  "ollama, abort at the first piece": await written(async () => {
    const stream = await client.chat(chat);
    try {
      for await (const _ of stream) stream.abort();
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
  }),
  "ollama, break at the first piece": await written(async () => {
    for await (const _ of await client.chat(chat)) break;
  }),
};
console.log(`ollama ${version}, Node ${process.versions.node}; an answer has ${LINES} lines`);
for (const [what, lines] of Object.entries(seen)) console.log(`  ${what}: the server wrote ${lines} lines`);
const [whole, byFetch, aborted, left] = Object.values(seen);
if (whole !== LINES || byFetch > LINES / 2 || aborted > LINES / 2) {
  console.error("the comparison itself does not hold; look at this script");
  process.exit(2);
}
if (left !== LINES) {
  console.error("no longer so: who breaks out of a stream leaves it");
  process.exit(1);
}
process.exit(0);
JS
timeout 60 node --expose-gc seen.mjs

# Seen on 2026-11-30:
#   ollama 0.6.4, Node 20.20.2; an answer has 40 lines
#     ollama, read to its end: the server wrote 40 lines
#     fetch, break at the first piece: the server wrote 1 lines
#     ollama, abort at the first piece: the server wrote 1 lines
#     ollama, break at the first piece: the server wrote 40 lines
