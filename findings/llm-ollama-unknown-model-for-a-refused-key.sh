#!/usr/bin/env bash
# llm-ollama says "Unknown model" when the server refuses the key.
#
# The plug-in lists the server's models each time that a model is named. Whatever goes wrong with the list is caught and
# counts as no models: a refused key (401), a server that is not there. The user is told that the model is unknown,
# whatever its name; the status and the server's sentence are nowhere. Of a right key the same command answers.
#
# For whom: servers that want a key from users of llm.
# Versions: llm-ollama 0.19.1 with llm 0.36, the newest on 2026-11-29; Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install -q --disable-pip-version-check llm==0.36 llm-ollama==0.19.1
LLM_USER_PATH="$folder/llm" timeout 60 "$folder/venv/bin/python" - <<'PY'
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

ANSWERS = {
    "/api/tags": {"models": [{"model": "tiny:latest", "digest": "d1"}]},
    "/api/show": {"capabilities": ["completion"], "details": {}, "model_info": {}},
    "/api/chat": {"model": "tiny:latest", "message": {"role": "assistant", "content": "Red."}, "done": True},
}
refused = []


class Server(BaseHTTPRequestHandler):
    """Ollama's routes, for whoever has the key."""

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        known = self.headers.get("Authorization") == "Bearer right"
        body = json.dumps(ANSWERS[self.path] if known else {"error": "The key is not known."}).encode()
        if not known:
            refused.append(self.path)
        self.send_response(200 if known else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["OLLAMA_HOST"] = f"http://127.0.0.1:{server.server_port}"
import llm


def asked(key):
    os.environ["OLLAMA_API_KEY"] = key
    try:
        return llm.get_model("ollama/tiny:latest").prompt("Name a colour.", stream=False).text()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


print("llm-ollama", version("llm-ollama"), "with llm", version("llm"), "on Python", sys.version.split()[0])
right, wrong = asked("right"), asked("wrong")
print("the right key:", right)
print("a wrong key:", wrong, "| answered 401:", sorted(set(refused)))
assert right == "Red." and "/api/tags" in refused, "the comparison itself does not hold; look at this script"
if not wrong.startswith("UnknownModelError") or "key is not known" in wrong:
    sys.exit("no longer so: llm-ollama tells that the server refused the key.")
PY

# Seen on 2026-11-29:
#   llm-ollama 0.19.1 with llm 0.36 on Python 3.11.7
#   the right key: Red.
#   a wrong key: UnknownModelError: 'Unknown model: ollama/tiny:latest' | answered 401: ['/api/tags']
