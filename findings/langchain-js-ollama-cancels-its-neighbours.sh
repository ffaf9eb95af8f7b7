#!/usr/bin/env bash
# With @langchain/ollama, a call that is cancelled ends all other streams of its model object, and returns half an answer as a whole one.
#
# Where a call's `signal` is aborted, the package calls `abort()` of its client of Ollama, which ends every stream of
# that client. A `ChatOllama` has one client, and streams also where `invoke` asked for one answer: so what runs beside, by
# the same object, fails with AbortError, though nobody cancelled it. The call that was cancelled does not fail:
# `invoke` returns the words up to there, without `done_reason`.
# With an object of its own for each call the neighbour has its answer.
#
# For whom: programs that run calls side by side by one `ChatOllama` and pass signals on, and servers that see clients leave
# together.
# Versions: @langchain/ollama 1.3.0 with @langchain/core 1.4.0 and ollama 0.6.4, the newest on 2026-11-30; Node 20.
set -euo pipefail
command -v npm >/dev/null || { echo "npm is not here"; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
printf '{"type": "module", "private": true}\n' >package.json
timeout 300 npm install --silent --no-audit --no-fund --ignore-scripts \
    @langchain/ollama@1.3.0 @langchain/core@1.4.0 ollama@0.6.4 >/dev/null
cat >seen.mjs <<'JS'
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { ChatOllama } from "@langchain/ollama";

const versionOf = (name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version;
const WORDS = 30;
let cancelAfterFive;

// An Ollama that says a word each twentieth of a second. At the fifth word somebody has enough.
const server = createServer((request, response) => {
  request.resume();
  request.on("end", () => {
    response.setHeader("Content-Type", "application/x-ndjson");
    let words = 0;
    const shared = { model: "m", created_at: "2026-01-01T00:00:00Z" };
    const timer = setInterval(() => {
      words += 1;
      const end = words === WORDS ? { done: true, done_reason: "stop", prompt_eval_count: 2, eval_count: WORDS } : { done: false };
      response.write(JSON.stringify({ ...shared, message: { role: "assistant", content: "word " }, ...end }) + "\n");
      if (words === WORDS) response.end();
      if (words === 5) cancelAfterFive();
    }, 50);
    response.on("close", () => clearInterval(timer));
  });
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const baseUrl = `http://127.0.0.1:${server.address().port}`;
const model = () => new ChatOllama({ model: "m", baseUrl, maxRetries: 0 });

async function asked(chat, signal) {
  try {
    const { content, response_metadata } = await chat.invoke("Go on and on.", { signal });
    return { words: content.split(" ").length - 1, reason: response_metadata.done_reason ?? "none" };
  } catch (error) {
    return { failed: error.name };
  }
}

// Two calls at once, of which the first is cancelled at a fifth word.
async function together(first, second) {
  const control = new AbortController();
  cancelAfterFive = () => control.abort();
  const [cancelled, neighbour] = await Promise.all([asked(first, control.signal), asked(second)]);
  return { cancelled, neighbour };
}

const one = model();
const seen = { "an object each": await together(model(), model()), "one object": await together(one, one) };
console.log(
  `@langchain/ollama ${versionOf("@langchain/ollama")}, @langchain/core ${versionOf("@langchain/core")},`,
  `ollama ${versionOf("ollama")}, Node ${process.versions.node}; an answer has ${WORDS} words`,
);
for (const [what, result] of Object.entries(seen)) console.log(`  ${what}: ${JSON.stringify(result)}`);
const apart = seen["an object each"];
if (apart.neighbour.words !== WORDS || apart.neighbour.reason !== "stop") {
  console.error("the comparison itself does not hold; look at this script");
  process.exit(2);
}
if (seen["one object"].neighbour.failed !== "AbortError") {
  console.error("no longer so: the neighbour of a cancelled call has its answer");
  process.exit(1);
}
const isHalf = ({ words, reason }) => words > 0 && words < WORDS && reason === "none";
if (!isHalf(apart.cancelled) || !isHalf(seen["one object"].cancelled)) {
  console.error("no longer so: a cancelled call returns half an answer");
  process.exit(1);
}
process.exit(0);
JS
LANGSMITH_TRACING=false timeout 60 node seen.mjs

# Seen on 2026-11-30:
#   @langchain/ollama 1.3.0, @langchain/core 1.4.0, ollama 0.6.4, Node 20.20.2; an answer has 30 words
#     an object each: {"cancelled":{"words":4,"reason":"none"},"neighbour":{"words":30,"reason":"stop"}}
#     one object: {"cancelled":{"words":4,"reason":"none"},"neighbour":{"failed":"AbortError"}}
