#!/usr/bin/env bash
# llama-index-llms-ollama drops a call of a streamed answer that equals an earlier one: two throws of a die are one.
#
# Of a stream the library keeps each pair of a tool's name and its arguments once. Models do call a tool twice with the
# same arguments, where it has effects or its answers differ: throw a die, take the next job, press a key. The same
# answer in one piece has both calls, and a stream whose calls differ has both as well. Nothing is said of what was dropped, and
# the history that goes back to the model has one call where it made two.
#
# For whom: agents, whose loops stream, and whoever counts calls at the server and at the client.
# Versions: llama-index-llms-ollama 0.11.0, llama-index-core 0.14.25, ollama 0.6.3, the newest on 2026-11-30; Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
timeout 500 "$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check \
    llama-index-llms-ollama==0.11.0 llama-index-core==0.14.25 ollama==0.6.3
timeout 120 "$folder/venv/bin/python" - <<'PY'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from llama_index.core.tools import FunctionTool
from llama_index.llms.ollama import Ollama

SIDES = {"equal": (6, 6), "different": (6, 8)}


class Server(BaseHTTPRequestHandler):
    """An Ollama whose models call a tool twice, streamed in a line each."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        calls = [
            {"id": f"call_{number}", "function": {"name": "throw", "arguments": {"sides": sides}}}
            for number, sides in enumerate(SIDES[asked["model"]])
        ]
        shared = {"model": asked["model"], "created_at": "2026-01-01T00:00:00Z"}
        said = {"role": "assistant", "content": ""}
        end = {"done": True, "done_reason": "stop", "prompt_eval_count": 1, "eval_count": 1}
        lines = [shared | {"message": said | {"tool_calls": calls}} | end]
        if asked["stream"]:
            lines = [shared | {"message": said | {"tool_calls": [call]}, "done": False} for call in calls]
            lines.append(shared | {"message": said} | end)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson" if asked["stream"] else "application/json")
        self.end_headers()
        self.wfile.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    def log_message(self, *_):
        pass


def throw(sides: int) -> int:
    """Throw a die that has so many sides."""
    return sides


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("llama-index-llms-ollama", version("llama-index-llms-ollama"), "with llama-index-core", version("llama-index-core"), end="")
print(", ollama", version("ollama"), "on Python", sys.version.split()[0])


def sides(model, *, stream):
    """The arguments of each call of an answer."""
    llm = Ollama(model=model, base_url=f"http://127.0.0.1:{server.server_port}", context_window=2048)
    asked = {"tools": [FunctionTool.from_defaults(throw)], "user_msg": "Throw two dice.", "allow_parallel_tool_calls": True}
    if stream:
        for last in llm.stream_chat_with_tools(**asked):
            pass
    else:
        last = llm.chat_with_tools(**asked)
    return [call.tool_kwargs["sides"] for call in llm.get_tool_calls_from_response(last)]


seen = {(model, stream): sides(model, stream=stream) for model in SIDES for stream in (False, True)}
for (model, stream), called in seen.items():
    print(f"{model} calls, {'streamed' if stream else 'whole'}: thrown {called}")
assert seen["equal", False] == [6, 6], "a whole answer has not both calls either; look at this script"
assert seen["different", False] == seen["different", True] == [6, 8], "the comparison does not hold; look at this script"
if seen["equal", True] != [6]:
    sys.exit("no longer so: a streamed call that equals another is kept.")
PY

# Seen on 2026-11-30:
#   llama-index-llms-ollama 0.11.0 with llama-index-core 0.14.25, ollama 0.6.3 on Python 3.11.7
#   equal calls, whole: thrown [6, 6]
#   equal calls, streamed: thrown [6]
#   different calls, whole: thrown [6, 8]
#   different calls, streamed: thrown [6, 8]
