#!/usr/bin/env bash
# LiteLLM's `ollama/` models hold back any answer that begins with "{", and may make a tool call of it that nobody offered.
#
# An answer over `ollama/` that begins as a JSON object, as everyone gets who asks for JSON, does not stream: its pieces
# are kept until the end and come as one. If the object has the members `name` and `arguments`, what comes is no text
# but a call of a tool with that name, though the request has no tools. The same answer in one piece is text,
# unless JSON was asked for, `response_format={"type": "json_object"}`: then it is a call as well, and `content` is None.
# `ollama_chat/` streams the same answer as it comes, as text.
#
# For whom: whoever has models write JSON (descriptions of functions, test data with names), and waits for a first token.
# Versions: litellm 1.110.2, the newest on 2026-11-30; Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
timeout 500 "$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check litellm==1.110.2
LITELLM_LOCAL_MODEL_COST_MAP=True timeout 200 "$folder/venv/bin/python" - <<'PY'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import litellm

ANSWERS = {"colour": ['{"colour":', ' "red",', ' "n": 3}'], "debate": ['{"name":', ' "Zeno",', ' "arguments": {"for": 2}}']}


class Server(BaseHTTPRequestHandler):
    """An Ollama whose models write a JSON object each, in three pieces."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert not asked.get("tools")
        pieces = ANSWERS.get(asked.get("model"), [])

        def line(text, more):
            said = {"response": text} if self.path == "/api/generate" else {"message": {"role": "assistant", "content": text}}
            return json.dumps({"model": asked.get("model"), "created_at": "2026-01-01T00:00:00Z"} | said | more).encode() + b"\n"

        end = {"done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 3}
        lines = [line(piece, {"done": False}) for piece in pieces] + [line("", end)]
        if not asked.get("stream"):
            lines = [line("".join(pieces), end)]
        if self.path == "/api/show":
            lines = [json.dumps({"capabilities": ["completion"], "details": {}, "model_info": {}}).encode()]
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson" if asked.get("stream") else "application/json")
        self.end_headers()
        self.wfile.write(b"".join(lines))

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()


def asked(model, *, stream, **more):
    """The pieces of text, the calls, and the reason of the end."""
    answer = litellm.completion(
        model=model,
        messages=[{"role": "user", "content": "Write a JSON object."}],
        api_base=f"http://127.0.0.1:{server.server_port}",
        stream=stream,
        **more,
    )
    choices = [chunk.choices[0] for chunk in answer] if stream else answer.choices
    parts = [choice.delta if stream else choice.message for choice in choices]
    calls = [(call.function.name, call.function.arguments) for part in parts for call in part.tool_calls or []]
    return [part.content for part in parts if part.content], calls, choices[-1].finish_reason


print("litellm", version("litellm"), "on Python", sys.version.split()[0])
seen = {}
for name in ANSWERS:
    for prefix in ("ollama_chat", "ollama"):
        seen[prefix, name, "streamed"] = asked(f"{prefix}/{name}", stream=True)
    seen["ollama", name, "whole"] = asked(f"ollama/{name}", stream=False)
    seen["ollama", name, "whole, JSON"] = asked(f"ollama/{name}", stream=False, response_format={"type": "json_object"})
for (prefix, name, how), (pieces, calls, reason) in seen.items():
    print(f"{prefix}/{name}, {how}: text {pieces}, calls {calls}, finish_reason {reason!r}")
for name, pieces in ANSWERS.items():
    assert seen["ollama_chat", name, "streamed"] == (pieces, [], "stop"), "the comparison does not hold; look at this script"
    assert seen["ollama", name, "whole"] == (["".join(pieces)], [], "stop"), "the comparison does not hold; look at this script"
if len(seen["ollama", "colour", "streamed"][0]) != 1:
    sys.exit("no longer so: an answer in JSON streams.")
called = ([], [("Zeno", '{"for": 2}')], "tool_calls")
if seen["ollama", "debate", "streamed"] != called or seen["ollama", "debate", "whole, JSON"] != called:
    sys.exit("no longer so: text stays text where no tool was offered.")
PY

# Seen on 2026-11-30:
#   litellm 1.110.2 on Python 3.11.7
#   ollama_chat/colour, streamed: text ['{"colour":', ' "red",', ' "n": 3}'], calls [], finish_reason 'stop'
#   ollama/colour, streamed: text ['{"colour": "red", "n": 3}'], calls [], finish_reason 'stop'
#   ollama/colour, whole: text ['{"colour": "red", "n": 3}'], calls [], finish_reason 'stop'
#   ollama/colour, whole, JSON: text ['{"colour": "red", "n": 3}'], calls [], finish_reason 'stop'
#   ollama_chat/debate, streamed: text ['{"name":', ' "Zeno",', ' "arguments": {"for": 2}}'], calls [], finish_reason 'stop'
#   ollama/debate, streamed: text [], calls [('Zeno', '{"for": 2}')], finish_reason 'tool_calls'
#   ollama/debate, whole: text ['{"name": "Zeno", "arguments": {"for": 2}}'], calls [], finish_reason 'stop'
#   ollama/debate, whole, JSON: text [], calls [('Zeno', '{"for": 2}')], finish_reason 'tool_calls'
