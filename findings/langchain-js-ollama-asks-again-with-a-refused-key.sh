#!/usr/bin/env bash
# The embeddings of @langchain/ollama ask again with a key that was refused, and for a model that is not there: seven times, for a minute.
#
# LangChain tries again unless the status of an error is one that no second try mends (400, 401, 403, 404, …). It looks
# for `status`, `statusCode` or `response.status`; the errors of Ollama's library have `status_code`. So each error counts as one
# that may pass: with `maxRetries`, 6 unless it is set, every request with a wrong key is 7 requests, with waits that
# double from a second, before the error is raised.
# `ChatOllama` of the same package, under the same setting, never asks again, also where the server says "busy, come back".
#
# For whom: servers that count failed keys or limit the rate of requests, and users who wait for the word "unauthorized".
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
import { AsyncCaller } from "@langchain/core/utils/async_caller";
import { ChatOllama, OllamaEmbeddings } from "@langchain/ollama";

const versionOf = (name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version;
const ERRORS = { 401: "unauthorized", 404: 'model "m" not found', 503: "server busy, please try again." };
const MAX_RETRIES = 2;
let refusal;
let requests = 0;

// An Ollama behind a proxy that knows no key, or without the model, or busy: always with the same refusal.
const server = createServer((request, response) => {
  request.resume();
  request.on("end", () => {
    requests += 1;
    response.writeHead(refusal, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ error: ERRORS[refusal] }));
  });
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const baseUrl = `http://127.0.0.1:${server.address().port}`;
const given = { model: "m", baseUrl, maxRetries: MAX_RETRIES };

// What a library would do whose errors say their status as LangChain reads it.
async function withStatus() {
  const caller = new AsyncCaller({ maxRetries: MAX_RETRIES });
  return caller.call(async () => {
    const { status } = await fetch(`${baseUrl}/api/embed`, { method: "POST", body: '{"model": "m", "input": ["a"]}' });
    throw Object.assign(new Error(ERRORS[status]), { status });
  });
}

async function counted(status, asking) {
  refusal = Number(status);
  requests = 0;
  try {
    await asking();
  } catch (error) {
    return { requests, error: error.message };
  }
  return { requests };
}

const ways = {
  "an error with `status`": withStatus,
  OllamaEmbeddings: () => new OllamaEmbeddings(given).embedQuery("a"),
  ChatOllama: () => new ChatOllama(given).invoke("a"),
};
console.log(
  `@langchain/ollama ${versionOf("@langchain/ollama")}, @langchain/core ${versionOf("@langchain/core")},`,
  `ollama ${versionOf("ollama")}, Node ${process.versions.node}; maxRetries: ${MAX_RETRIES}`,
);
const seen = {};
for (const [name, asking] of Object.entries(ways)) {
  for (const status of Object.keys(ERRORS)) {
    const result = (seen[`${name} ${status}`] = await counted(status, asking));
    console.log(`  ${name}, ${status}: ${JSON.stringify(result)}`);
  }
}
const asked = (name) => Object.keys(ERRORS).map((status) => seen[`${name} ${status}`].requests);
const told = Object.entries(seen).every(([what, { error }]) => error?.includes(ERRORS[what.slice(-3)]));
if (!told || asked("an error with `status`").join() !== [1, 1, 1 + MAX_RETRIES].join()) {
  console.error("the comparison itself does not hold; look at this script");
  process.exit(2);
}
if (asked("OllamaEmbeddings").some((requests) => requests !== 1 + MAX_RETRIES)) {
  console.error("no longer so: embeddings ask once where a second try is in vain");
  process.exit(1);
}
if (asked("ChatOllama").some((requests) => requests !== 1)) {
  console.error("no longer so: chats never ask again");
  process.exit(1);
}
process.exit(0);
JS
LANGSMITH_TRACING=false timeout 90 node seen.mjs

# Seen on 2026-11-30:
#   @langchain/ollama 1.3.0, @langchain/core 1.4.0, ollama 0.6.4, Node 20.20.2; maxRetries: 2
#     an error with `status`, 401: {"requests":1,"error":"unauthorized"}
#     an error with `status`, 404: {"requests":1,"error":"model \"m\" not found"}
#     an error with `status`, 503: {"requests":3,"error":"server busy, please try again."}
#     OllamaEmbeddings, 401: {"requests":3,"error":"unauthorized"}
#     OllamaEmbeddings, 404: {"requests":3,"error":"model \"m\" not found"}
#     OllamaEmbeddings, 503: {"requests":3,"error":"server busy, please try again."}
#     ChatOllama, 401: {"requests":1,"error":"unauthorized"}
#     ChatOllama, 404: {"requests":1,"error":"model \"m\" not found"}
#     ChatOllama, 503: {"requests":1,"error":"server busy, please try again."}
#   and without `maxRetries`, by hand: 7 requests with a refused key, in 88 seconds
