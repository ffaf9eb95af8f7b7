#!/usr/bin/env bash
# With ai-sdk-ollama, `maxRetries` of the AI SDK does nothing: what would pass a second later fails at once.
#
# The SDK tries again what its own class of errors calls retryable: 429 and 5xx, after `Retry-After` where the server
# sends it. ai-sdk-ollama makes errors of a class of its own, which has no such mark. So a server that says "busy, come
# back in a second" (429 or 503 with `Retry-After: 1`) is asked once, whatever `maxRetries` says, and the call fails.
# ollama-ai-provider-v2, under the same call, waits the second and has its answer.
#
# For whom: servers that refuse for a moment, by rate limits or full queues, and count on clients to come back.
# Versions: ai-sdk-ollama 4.3.0 and ollama-ai-provider-v2 4.0.1 with ai 7.0.173, the newest on 2026-11-30; Node 20.
set -euo pipefail
command -v npm >/dev/null || { echo "npm is not here"; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
printf '{"type": "module", "private": true}\n' >package.json
timeout 500 npm install --silent --no-audit --no-fund --ignore-scripts \
    ai@7.0.173 ollama-ai-provider-v2@4.0.1 ai-sdk-ollama@4.3.0 zod@4.6.7 >/dev/null
cat >seen.mjs <<'JS'
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { generateText } from "ai";
import { createOllama as ofSdkOllama } from "ai-sdk-ollama";
import { createOllama as ofProviderV2 } from "ollama-ai-provider-v2";

const versionOf = (name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version;
let refusals = [];
let requests = 0;

// An Ollama that refuses as long as it has a status to refuse with, and answers then.
const server = createServer((request, response) => {
  request.resume();
  request.on("end", () => {
    requests += 1;
    const status = refusals.shift();
    response.setHeader("Content-Type", "application/json");
    if (status) {
      response.writeHead(status, { "Retry-After": "1" });
      response.end(JSON.stringify({ error: "Busy. Try again in a second." }));
      return;
    }
    response.end(
      JSON.stringify({
        model: "m",
        created_at: "2026-01-01T00:00:00Z",
        message: { role: "assistant", content: "Here I am." },
        done: true,
        done_reason: "stop",
        prompt_eval_count: 1,
        eval_count: 1,
      }),
    );
  });
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const address = `http://127.0.0.1:${server.address().port}`;

async function asked(provider, status) {
  refusals = status ? [status] : [];
  requests = 0;
  try {
    const { text } = await generateText({ model: provider("m"), prompt: "Are you there?", maxRetries: 2 });
    return { requests, text };
  } catch (error) {
    return { requests, failed: error.message };
  }
}

const providers = { "ollama-ai-provider-v2": ofProviderV2({ baseURL: `${address}/api` }), "ai-sdk-ollama": ofSdkOllama({ baseURL: address }) };
console.log(
  `ai-sdk-ollama ${versionOf("ai-sdk-ollama")}, ollama-ai-provider-v2 ${versionOf("ollama-ai-provider-v2")},`,
  `ai ${versionOf("ai")}, Node ${process.versions.node}; maxRetries: 2`,
);
const seen = {};
for (const [name, provider] of Object.entries(providers)) {
  for (const status of [0, 429, 503]) {
    const result = (seen[`${name} ${status}`] = await asked(provider, status));
    console.log(`  ${name}, ${status ? `first ${status}, then an answer` : "an answer"}: ${JSON.stringify(result)}`);
  }
}
const answered = (what, count) => seen[what].text === "Here I am." && seen[what].requests === count;
const v2 = "ollama-ai-provider-v2";
if (!answered("ai-sdk-ollama 0", 1) || !answered(`${v2} 0`, 1) || !answered(`${v2} 429`, 2) || !answered(`${v2} 503`, 2)) {
  console.error("the comparison itself does not hold; look at this script");
  process.exit(2);
}
if (["429", "503"].some((status) => seen[`ai-sdk-ollama ${status}`].requests !== 1)) {
  console.error("no longer so: ai-sdk-ollama is asked again");
  process.exit(1);
}
process.exit(0);
JS
timeout 60 node seen.mjs

# Seen on 2026-11-30:
#   ai-sdk-ollama 4.3.0, ollama-ai-provider-v2 4.0.1, ai 7.0.173, Node 20.20.2; maxRetries: 2
#     ollama-ai-provider-v2, an answer: {"requests":1,"text":"Here I am."}
#     ollama-ai-provider-v2, first 429, then an answer: {"requests":2,"text":"Here I am."}
#     ollama-ai-provider-v2, first 503, then an answer: {"requests":2,"text":"Here I am."}
#     ai-sdk-ollama, an answer: {"requests":1,"text":"Here I am."}
#     ai-sdk-ollama, first 429, then an answer: {"requests":1,"failed":"Busy. Try again in a second."}
#     ai-sdk-ollama, first 503, then an answer: {"requests":1,"failed":"Busy. Try again in a second."}
