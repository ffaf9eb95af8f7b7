#!/usr/bin/env bash
# ollama-ai-provider-v2 drops the line that says why a stream failed: half an answer arrives without an error.
#
# A stream that has begun can only tell of an error in a line of its own, `{"error":"…"}`, as Ollama's documentation of
# errors says. The provider checks each line against what a piece of an answer looks like. A line that does not fit is
# written to the console with the names of the missing fields, not with what it said, and left out. `streamText` ends with
# half the text and the reason "other"; neither `onError` nor any promise fails. ai-sdk-ollama raises the server's sentence.
#
# For whom: services that speak Ollama's API and report timeouts, drains and lost backends amid a stream, and their users.
# Versions: ollama-ai-provider-v2 4.0.1 and ai-sdk-ollama 4.3.0 with ai 7.0.173, the newest on 2026-11-30; Node 20.
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
import { streamText } from "ai";
import { createOllama as ofSdkOllama } from "ai-sdk-ollama";
import { createOllama as ofProviderV2 } from "ollama-ai-provider-v2";

const versionOf = (name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version;
const SENTENCE = "the model ran out of memory";
const piece = (content, more = {}) => ({
  model: "m",
  created_at: "2026-01-01T00:00:00Z",
  message: { role: "assistant", content },
  done: false,
  ...more,
});
const END = piece("", { done: true, done_reason: "stop", prompt_eval_count: 5, eval_count: 2 });

// An Ollama with two models: one ends well, the other fails after two pieces.
const server = createServer((request, response) => {
  let text = "";
  request.on("data", (part) => (text += part));
  request.on("end", () => {
    const { model } = JSON.parse(text || "{}");
    const lines = [piece("The first "), piece("half"), model === "fails" ? { error: SENTENCE } : END];
    response.setHeader("Content-Type", "application/x-ndjson");
    for (const line of lines) response.write(JSON.stringify(line) + "\n");
    response.end();
  });
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const address = `http://127.0.0.1:${server.address().port}`;
const warned = [];
console.warn = (...words) => warned.push(words.map(String).join(" "));

async function asked(provider, name) {
  const told = [];
  let text = "";
  const result = streamText({
    model: provider(name),
    prompt: "Write two halves.",
    onError: ({ error }) => told.push(error.message),
  });
  try {
    for await (const part of result.textStream) text += part;
    return { text, reason: await result.finishReason, told };
  } catch (error) {
    return { text, told: [...told, error.message] };
  }
}

const v2 = ofProviderV2({ baseURL: `${address}/api` });
const other = ofSdkOllama({ baseURL: address });
const seen = {
  "ollama-ai-provider-v2, ends well": await asked(v2, "well"),
  "ai-sdk-ollama, fails": await asked(other, "fails"),
  "ollama-ai-provider-v2, fails": await asked(v2, "fails"),
};
console.log(
  `ollama-ai-provider-v2 ${versionOf("ollama-ai-provider-v2")}, ai-sdk-ollama ${versionOf("ai-sdk-ollama")},`,
  `ai ${versionOf("ai")}, Node ${process.versions.node}`,
);
for (const [what, result] of Object.entries(seen)) console.log(`  ${what}: ${JSON.stringify(result)}`);
const inConsole = warned.some((words) => words.includes(SENTENCE));
console.log(`  warnings on the console: ${warned.length}, with the server's sentence: ${inConsole}`);
const [well, raised, hidden] = Object.values(seen);
if (well.reason !== "stop" || well.told.length || !raised.told.some((words) => words.includes(SENTENCE))) {
  console.error("the comparison itself does not hold; look at this script");
  process.exit(2);
}
if (hidden.told.length || hidden.reason !== "other" || hidden.text !== "The first half" || inConsole) {
  console.error("no longer so: an error amid a stream is told");
  process.exit(1);
}
process.exit(0);
JS
timeout 60 node seen.mjs

# Seen on 2026-11-30:
#   ollama-ai-provider-v2 4.0.1, ai-sdk-ollama 4.3.0, ai 7.0.173, Node 20.20.2
#     ollama-ai-provider-v2, ends well: {"text":"The first half","reason":"stop","told":[]}
#     ai-sdk-ollama, fails: {"text":"The first half","told":["the model ran out of memory"]}
#     ollama-ai-provider-v2, fails: {"text":"The first half","reason":"other","told":[]}
#     warnings on the console: 1, with the server's sentence: false
