#!/usr/bin/env bash
# LiteLLM's `ollama/` models lose the words that stand in a stream's last line, and call each answer complete.
#
# Ollama's last line, `done: true`, may hold text, as it does in the example of Ollama's own page about streaming. Over
# `ollama/` (POST /api/generate) LiteLLM reads the counts of that line and leaves its text out.
# The same answer in one piece is whole, and `ollama_chat/` has the text in both ways.
# The reason is lost as well, in both ways: of `done_reason: "length"`, an answer that was cut at `num_predict`,
# `ollama/` makes `finish_reason: "stop"`. `ollama_chat/` says "length".
#
# For whom: servers that put text into the last line, and whoever asks again when an answer was cut.
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

PIECES = ("The end ", "is near.")


class Server(BaseHTTPRequestHandler):
    """An Ollama whose model says its last words together with `done: true`, and was cut there."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))

        def line(text, more):
            said = {"response": text} if self.path == "/api/generate" else {"message": {"role": "assistant", "content": text}}
            return json.dumps({"model": "m", "created_at": "2026-01-01T00:00:00Z"} | said | more).encode() + b"\n"

        end = {"done": True, "done_reason": "length", "prompt_eval_count": 3, "eval_count": 2}
        lines = [line(PIECES[0], {"done": False}), line(PIECES[1], end)] if asked.get("stream") else [line("".join(PIECES), end)]
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


def asked(prefix, *, stream):
    """The text and the reason of its end."""
    answer = litellm.completion(
        model=f"{prefix}/m",
        messages=[{"role": "user", "content": "Say two words."}],
        api_base=f"http://127.0.0.1:{server.server_port}",
        stream=stream,
    )
    if not stream:
        return answer.choices[0].message.content, answer.choices[0].finish_reason
    parts = [chunk.choices[0] for chunk in answer]
    return "".join(part.delta.content or "" for part in parts), parts[-1].finish_reason


print("litellm", version("litellm"), "on Python", sys.version.split()[0])
seen = {(prefix, stream): asked(prefix, stream=stream) for prefix in ("ollama_chat", "ollama") for stream in (False, True)}
for (prefix, stream), (text, reason) in seen.items():
    print(f"{prefix}/, {'streamed' if stream else 'whole'}: {text!r}, finish_reason {reason!r}")
right = ("".join(PIECES), "length")
assert seen["ollama_chat", False] == seen["ollama_chat", True] == right, "the comparison does not hold; look at this script"
assert seen["ollama", False][0] == right[0], "a whole answer is not whole either; look at this script"
if seen["ollama", True][0] != PIECES[0]:
    sys.exit("no longer so: the text of the last line arrives.")
if {seen["ollama", False][1], seen["ollama", True][1]} != {"stop"}:
    sys.exit("no longer so: an answer that was cut says so.")
PY

# Seen on 2026-11-30:
#   litellm 1.110.2 on Python 3.11.7
#   ollama_chat/, whole: 'The end is near.', finish_reason 'length'
#   ollama_chat/, streamed: 'The end is near.', finish_reason 'length'
#   ollama/, whole: 'The end is near.', finish_reason 'stop'
#   ollama/, streamed: 'The end ', finish_reason 'stop'
