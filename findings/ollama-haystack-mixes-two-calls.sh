#!/usr/bin/env bash
# ollama-haystack makes one call of two that come in one line of a stream: the name of the first, the arguments of the last.
#
# A line of Ollama's stream has a list, `message.tool_calls`. `OllamaChatGenerator` numbers lines, not calls, when it
# streams: the calls of a line share a number, under which the first leaves its name and each next one its arguments. So a
# tool that the model did call runs with arguments that were meant for another, and nothing fails unless the tool looks.
# The same answer in one piece has both calls as they are, and so has a stream with a line for each.
#
# For whom: agents with more than one tool, and servers or proxies that put the calls of an answer into one line.
# Versions: ollama-haystack 7.0.2, haystack-ai 3.4.1, ollama 0.6.3, the newest on 2026-11-30; Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
timeout 500 "$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check \
    ollama-haystack==7.0.2 haystack-ai==3.4.1 ollama==0.6.3
HAYSTACK_TELEMETRY_ENABLED=False timeout 120 "$folder/venv/bin/python" - <<'PY'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from haystack.dataclasses import ChatMessage
from haystack_integrations.components.generators.ollama import OllamaChatGenerator

CALLS = [("read", {"path": "notes.txt"}), ("remove", {"path": "notes.old"})]


class Server(BaseHTTPRequestHandler):
    """An Ollama whose models call two tools, which stream in a line for both or in a line each."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        calls = [{"function": {"name": name, "arguments": arguments}} for name, arguments in CALLS]
        shared = {"model": asked["model"], "created_at": "2026-01-01T00:00:00Z"}
        said = {"role": "assistant", "content": ""}
        end = {"done": True, "done_reason": "stop", "prompt_eval_count": 1, "eval_count": 1}
        lines = [shared | {"message": said | {"tool_calls": calls}} | end]
        if asked["stream"]:
            parts = [calls] if asked["model"] == "in one line" else [[call] for call in calls]
            lines = [shared | {"message": said | {"tool_calls": part}, "done": False} for part in parts]
            lines.append(shared | {"message": said} | end)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson" if asked["stream"] else "application/json")
        self.end_headers()
        self.wfile.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()


def called(model, callback):
    """The calls of an answer; with a callback it is streamed."""
    generator = OllamaChatGenerator(model=model, url=f"http://127.0.0.1:{server.server_port}")
    (reply,) = generator.run([ChatMessage.from_user("Tidy up.")], streaming_callback=callback)["replies"]
    return [(call.tool_name, call.arguments) for call in reply.tool_calls]


print("ollama-haystack", version("ollama-haystack"), "with haystack-ai", version("haystack-ai"), end="")
print(", ollama", version("ollama"), "on Python", sys.version.split()[0])
whole = called("in one line", None)
apart = called("in a line each", lambda chunk: None)
mixed = called("in one line", lambda chunk: None)
print("whole:", whole)
print("streamed, a line each:", apart)
print("streamed, one line:", mixed)
assert whole == apart == CALLS, "the comparison does not hold; look at this script"
if mixed != [("read", {"path": "notes.old"})]:
    sys.exit("no longer so: two calls of one line stay two.")
PY

# Seen on 2026-11-30:
#   ollama-haystack 7.0.2 with haystack-ai 3.4.1, ollama 0.6.3 on Python 3.11.7
#   whole: [('read', {'path': 'notes.txt'}), ('remove', {'path': 'notes.old'})]
#   streamed, a line each: [('read', {'path': 'notes.txt'}), ('remove', {'path': 'notes.old'})]
#   streamed, one line: [('read', {'path': 'notes.old'})]
