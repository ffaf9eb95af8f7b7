#!/usr/bin/env bash
# Ollama's library for Python drops the ids of tool calls, on the way in and on the way out, without a word.
#
# Ollama gives each call an id since 0.12.10. The library's types have no such field, and leave out what they do not
# know: `message.tool_calls` has names and arguments alone. Where a program puts the id back, in the history's calls and
# as the `tool_call_id` of a result, neither is sent. So of two calls of one tool, results can be told apart by their
# order alone, by the program and by the server.
#
# For whom: servers that hand out ids of calls and want them back; whoever answers parallel calls out of order.
# Versions: ollama 0.6.3, the newest on 2026-11-30; Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install -q --disable-pip-version-check ollama==0.6.3
timeout 60 "$folder/venv/bin/python" - <<'PY'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import ollama

CALLS = [{"id": f"call_{city}", "function": {"name": "weather", "arguments": {"city": city}}} for city in ("Rome", "Oslo")]
received = []


class Server(BaseHTTPRequestHandler):
    """An Ollama that asks for two cities, each call under an id of its own."""

    def do_POST(self):
        received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        answer = {
            "model": "m",
            "created_at": "2026-01-01T00:00:00Z",
            "message": {"role": "assistant", "content": "", "tool_calls": CALLS},
            "done": True,
            "done_reason": "stop",
        }
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = ollama.Client(host=f"http://127.0.0.1:{server.server_port}")
print("ollama", version("ollama"), "on Python", sys.version.split()[0])

answer = client.chat("m", messages=[{"role": "user", "content": "The weather in Rome and in Oslo?"}])
read = [call.model_dump() for call in answer.message.tool_calls]
results = [  # as they came in: the second call was quicker
    {"role": "tool", "tool_name": "weather", "tool_call_id": "call_Oslo", "content": "snow"},
    {"role": "tool", "tool_name": "weather", "tool_call_id": "call_Rome", "content": "sun"},
]
client.chat("m", messages=[{"role": "assistant", "content": "", "tool_calls": CALLS}, *results])
sent = received[-1]["messages"]
print("sent by the server:", CALLS[0])
print("read by the program:", read[0])
print("put back by the program:", results[0])
print("received by the server:", sent[1])
print("  and the call before it:", sent[0]["tool_calls"][0])
assert [call["function"]["arguments"]["city"] for call in read] == ["Rome", "Oslo"], "calls are lost; look at this script"
assert [message["content"] for message in sent[1:]] == ["snow", "sun"], "results are lost; look at this script"
assert sent[1]["tool_name"] == "weather", "a known field is lost as well; look at this script"
if any("id" in call for call in read):
    sys.exit("no longer so: a call has its id.")
if any("id" in call for call in sent[0]["tool_calls"]) or any("tool_call_id" in message for message in sent):
    sys.exit("no longer so: an id that is put back is sent.")
PY

# Seen on 2026-11-30:
#   ollama 0.6.3 on Python 3.11.7
#   sent by the server: {'id': 'call_Rome', 'function': {'name': 'weather', 'arguments': {'city': 'Rome'}}}
#   read by the program: {'function': {'name': 'weather', 'arguments': {'city': 'Rome'}}}
#   put back by the program: {'role': 'tool', 'tool_name': 'weather', 'tool_call_id': 'call_Oslo', 'content': 'snow'}
#   received by the server: {'role': 'tool', 'content': 'snow', 'tool_name': 'weather'}
#     and the call before it: {'function': {'name': 'weather', 'arguments': {'city': 'Rome'}}}
