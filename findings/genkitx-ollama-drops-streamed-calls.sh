#!/usr/bin/env bash
# Genkit's Ollama plugin loses every tool call of a streamed answer: the tool never runs.
#
# Where Ollama streams, a call comes in a line of its own, `{"message":{"content":"","tool_calls":[…]}}`. The plugin makes
# the message of a streamed answer of the lines' texts alone. The same answer, not streamed, has its call and runs the
# tool. Nothing fails: `generateStream` ends without an error, and its text is the word "undefined".
#
# For whom: whoever builds agents with Genkit on an Ollama, or on a service that speaks its API, and streams.
# Versions: genkitx-ollama 1.42.0 with genkit 1.42.0, the newest on 2026-11-29; Node 20.
set -euo pipefail
command -v npm >/dev/null || { echo "npm is not here"; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
printf '{"type": "module", "private": true}\n' >package.json
timeout 500 npm install --silent --no-audit --no-fund --ignore-scripts genkit@1.42.0 genkitx-ollama@1.42.0 >/dev/null
cat >seen.mjs <<'JS'
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { genkit, z } from "genkit";
import { ollama } from "genkitx-ollama";

const versionOf = (name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version;
const CALL = { function: { name: "weather", arguments: { city: "Rome" } } };

// An Ollama with one model, which calls the tool first, and then repeats what that said.
const server = createServer((request, response) => {
  let text = "";
  request.on("data", (piece) => (text += piece));
  request.on("end", () => {
    const asked = JSON.parse(text || "{}");
    const told = (asked.messages ?? []).find((message) => message.role === "tool");
    const message = told
      ? { role: "assistant", content: `It is ${told.content}.` }
      : { role: "assistant", content: "", tool_calls: [CALL] };
    const shared = { model: "m", created_at: "2026-01-01T00:00:00Z" };
    const end = { done: true, done_reason: "stop", prompt_eval_count: 1, eval_count: 1 };
    if (asked.stream) {
      response.setHeader("Content-Type", "application/x-ndjson");
      response.write(JSON.stringify({ ...shared, message, done: false }) + "\n");
      setTimeout(
        () => response.end(JSON.stringify({ ...shared, message: { role: "assistant", content: "" }, ...end }) + "\n"),
        50,
      );
    } else {
      response.setHeader("Content-Type", "application/json");
      response.end(JSON.stringify({ ...shared, message, ...end }));
    }
  });
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));

const ai = genkit({
  plugins: [
    ollama({
      models: [{ name: "m", type: "chat", supports: { tools: true } }],
      serverAddress: `http://127.0.0.1:${server.address().port}`,
    }),
  ],
});
let ran = 0;
const weather = ai.defineTool(
  { name: "weather", description: "Tells the weather.", inputSchema: z.object({ city: z.string() }), outputSchema: z.string() },
  async () => {
    ran += 1;
    return "sunny";
  },
);
const asked = { model: "ollama/m", prompt: "How is the weather in Rome?", tools: [weather] };

async function counted(generate) {
  ran = 0;
  const text = await generate();
  return { ran, text };
}

const whole = await counted(async () => (await ai.generate(asked)).text);
const streamed = await counted(async () => {
  const { response, stream } = ai.generateStream(asked);
  for await (const _ of stream);
  return (await response).text;
});
console.log(`genkitx-ollama ${versionOf("genkitx-ollama")}, genkit ${versionOf("genkit")}, Node ${process.versions.node}`);
console.log(`  whole:    the tool ran ${whole.ran} time(s), the answer is ${JSON.stringify(whole.text)}`);
console.log(`  streamed: the tool ran ${streamed.ran} time(s), the answer is ${JSON.stringify(streamed.text)}`);
if (whole.ran !== 1 || !whole.text.includes("sunny")) {
  console.error("the whole answer has no call either; look at this script");
  process.exit(2);
}
if (streamed.ran !== 0) {
  console.error("no longer so: a streamed call runs its tool");
  process.exit(1);
}
process.exit(0);
JS
GENKIT_TELEMETRY_DISABLED=1 timeout 60 node seen.mjs
# Seen on 2026-11-29:
# genkitx-ollama 1.42.0, genkit 1.42.0, Node 20.20.2
#   whole:    the tool ran 1 time(s), the answer is "It is sunny."
#   streamed: the tool ran 0 time(s), the answer is "undefined"
