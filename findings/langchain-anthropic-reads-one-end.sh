#!/usr/bin/env bash
# LangChain counts a streamed answer of Anthropic's API differently in Python and in JavaScript: each reads another end of the stream.
#
# `message_start` has the tokens of the prompt, and of the answer those so far. `message_delta` has the totals: `output_tokens`
# always, `input_tokens` where the server knows them only then. langchain-anthropic takes both from the end alone:
# where the end has no `input_tokens`, as in the example of Anthropic's own page about streaming, the prompt cost nothing.
# @langchain/anthropic takes the prompt's from the start alone: where the start has zero or an estimate, that stays; and it
# adds the answer's tokens of the start to the total of the end. Each is right where the other is wrong, and where both ends
# have all, JavaScript still counts too many. Anthropic's own libraries in both languages are right each time.
#
# For whom: whoever bills or compares by `usage_metadata`, and servers that count a prompt when its answer is over.
# Versions: langchain-anthropic 1.7.10, anthropic 2.14.0, @langchain/anthropic 1.5.11, @langchain/core 1.4.0,
# @anthropic-ai/sdk 1.14.0, the newest on 2026-11-30; Python 3.11, Node 20.
set -euo pipefail
command -v npm >/dev/null || { echo "npm is not here"; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
timeout 300 venv/bin/pip install -q --no-compile --disable-pip-version-check \
    langchain-anthropic==1.7.10 langchain-core==1.8.3 anthropic==2.14.0
printf '{"type": "module", "private": true}\n' >package.json
timeout 300 npm install --silent --no-audit --no-fund --ignore-scripts \
    @langchain/anthropic@1.5.11 @langchain/core@1.4.0 @anthropic-ai/sdk@1.14.0 >/dev/null
cat >seen.mjs <<'JS'
import { readFileSync } from "node:fs";
import Anthropic from "@anthropic-ai/sdk";
import { ChatAnthropic } from "@langchain/anthropic";

const [address, ...models] = process.argv.slice(2);
const versionOf = (name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version;
const seen = {};
for (const model of models) {
  const library = new Anthropic({ apiKey: "none", baseURL: address });
  const asked = { model, max_tokens: 20, messages: [{ role: "user", content: "Hello?" }] };
  const { usage } = await library.messages.stream(asked).finalMessage();
  let whole;
  for await (const chunk of await new ChatAnthropic({ model, maxTokens: 20, apiKey: "none", anthropicApiUrl: address }).stream("Hello?"))
    whole = whole ? whole.concat(chunk) : chunk;
  const { input_tokens, output_tokens } = whole.usage_metadata;
  seen[model] = { "@anthropic-ai/sdk": [usage.input_tokens, usage.output_tokens], "@langchain/anthropic": [input_tokens, output_tokens] };
}
const names = ["@langchain/anthropic", "@langchain/core", "@anthropic-ai/sdk"];
console.log(JSON.stringify({ seen, versions: [...names.map((name) => `${name} ${versionOf(name)}`), `Node ${process.versions.node}`] }));
JS
LANGSMITH_TRACING=false timeout 120 venv/bin/python - <<'PY'
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import anthropic
from langchain_anthropic import ChatAnthropic

USAGE = {  # of the start and of the end; each answer took 25 tokens and made 15
    "start": ({"input_tokens": 25, "output_tokens": 1}, {"output_tokens": 15}),
    "end": ({"input_tokens": 0, "output_tokens": 0}, {"input_tokens": 25, "output_tokens": 15}),
    "both": ({"input_tokens": 25, "output_tokens": 1}, {"input_tokens": 25, "output_tokens": 15}),
}


class Server(BaseHTTPRequestHandler):
    """A server of Anthropic's messages. The model's name says at which end of a stream it knows the prompt's tokens."""

    def do_POST(self):
        model = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["model"]
        start, end = USAGE[model]
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": []}
        events = [
            {"type": "message_start", "message": message | {"stop_reason": None, "stop_sequence": None, "usage": start}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello!"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": end},
            {"type": "message_stop"},
        ]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for event in events:
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"


def of_library(model):
    client = anthropic.Anthropic(base_url=address, api_key="none")
    with client.messages.stream(model=model, max_tokens=20, messages=[{"role": "user", "content": "Hello?"}]) as stream:
        usage = stream.get_final_message().usage
    return [usage.input_tokens, usage.output_tokens]


def of_langchain(model):
    whole = None
    for chunk in ChatAnthropic(model=model, max_tokens=20, base_url=address, api_key="none").stream("Hello?"):
        whole = chunk if whole is None else whole + chunk
    return [whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"]]


in_node = json.loads(subprocess.run(["node", "seen.mjs", address, *USAGE], check=True, stdout=subprocess.PIPE, timeout=60).stdout)
print("langchain-anthropic", version("langchain-anthropic"), "and anthropic", version("anthropic"), "on Python", sys.version.split()[0])
print(", ".join(in_node["versions"]))
seen = {
    model: {"anthropic": of_library(model), "langchain-anthropic": of_langchain(model)} | in_node["seen"][model] for model in USAGE
}
for model, counts in seen.items():
    print(f"25 read, 15 written, the prompt's told at {model}:", ", ".join(f"{name} {count}" for name, count in counts.items()))
for counts in seen.values():
    right = counts["anthropic"] == counts["@anthropic-ai/sdk"] == [25, 15]
    assert right, "the comparison does not hold; look at this script"
in_python = [seen[model]["langchain-anthropic"] for model in USAGE]
assert in_python[1:] == [[25, 15], [25, 15]], "Python does not read the end; look at this script"
if in_python[0] != [0, 15]:
    sys.exit("no longer so: in Python the prompt counts where the start tells it.")
in_javascript = [seen[model]["@langchain/anthropic"] for model in USAGE]
assert [read for read, _ in in_javascript[::2]] == [25, 25], "JavaScript does not read the start; look at this script"
if in_javascript[1] != [0, 15]:
    sys.exit("no longer so: in JavaScript the prompt counts where the end tells it.")
if in_javascript[2] != [25, 16]:
    sys.exit("no longer so: in JavaScript the start's tokens are not added to the total.")
PY

# Seen on 2026-11-30:
#   langchain-anthropic 1.7.10 and anthropic 2.14.0 on Python 3.11.7
#   @langchain/anthropic 1.5.11, @langchain/core 1.4.0, @anthropic-ai/sdk 1.14.0, Node 20.20.2
#   25 read, 15 written, the prompt's told at start: anthropic [25, 15], langchain-anthropic [0, 15], @anthropic-ai/sdk [25, 15], @langchain/anthropic [25, 16]
#   25 read, 15 written, the prompt's told at end: anthropic [25, 15], langchain-anthropic [25, 15], @anthropic-ai/sdk [25, 15], @langchain/anthropic [0, 15]
#   25 read, 15 written, the prompt's told at both: anthropic [25, 15], langchain-anthropic [25, 15], @anthropic-ai/sdk [25, 15], @langchain/anthropic [25, 16]
