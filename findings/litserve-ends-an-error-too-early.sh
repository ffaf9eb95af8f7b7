#!/usr/bin/env bash
# When a model of LitServe's raises amid a stream, OpenAI's library gets half an answer and no error.
#
# `OpenAISpec` does send the error, as an event of its own: `data: {"error": …}`. But the empty line that ends an event is
# missing, and the connection ends there. The rules of server-sent events say to drop an event that is not ended, and so OpenAI's
# library does: its loop ends without an error. With the two line breaks put behind the same bytes, it raises. Not
# streamed, the same fault is a 500.
#
# For whom: servers around LitServe, and proxies, which can end the event; readers who want to know whether they have all:
# `finish_reason` is missing.
# Versions: litserve 0.2.19 and openai 3.57.0, the newest on 2026-11-30; Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
timeout 500 "$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check litserve==0.2.19 openai==3.57.0
cat >"$folder/serve.py" <<'PY'
import sys

import litserve


class Api(litserve.LitAPI):
    """A model that says two words. Where it was asked to fail, it fails then."""

    def setup(self, device):
        pass

    def predict(self, request):
        yield "first "
        yield "half"
        if request.messages[-1].content == "Fail.":
            raise RuntimeError("out of memory")


if __name__ == "__main__":
    server = litserve.LitServer(Api(spec=litserve.OpenAISpec()), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
PY
cat >"$folder/seen.py" <<'PY'
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import openai

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
process = subprocess.Popen([sys.executable, sys.argv[1], str(port)], start_new_session=True, **quiet)


class Ending(BaseHTTPRequestHandler):
    """A proxy that puts two line breaks behind the server's bytes."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(bytes_of(body) + b"\n\n")

    def log_message(self, *_):
        pass


def bytes_of(body):
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return answer.read()


def outcome(words, *, stream, at=port):
    """The text, the reason of its end and the error."""
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{at}/v1", api_key="none", max_retries=0)
    text, reason = "", None
    try:
        answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": words}], stream=stream)
        for part in answer if stream else [answer]:
            choice = part.choices[0]
            text += (choice.delta if stream else choice.message).content or ""
            reason = choice.finish_reason or reason
    except openai.APIError as error:
        return text, reason, type(error).__name__
    return text, reason, None


try:
    for _ in range(120):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
            break
        except OSError:
            time.sleep(0.5)
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Ending)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    print("litserve", version("litserve"), "and openai", version("openai"), "on Python", sys.version.split()[0])
    sent = bytes_of(json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "Fail."}]}).encode())
    last = sent.rpartition(b"\n\n")[2]
    seen = {
        "whole, well": outcome("Go.", stream=False),
        "streamed, well": outcome("Go.", stream=True),
        "whole, fails": outcome("Fail.", stream=False),
        "streamed, fails, the event ended": outcome("Fail.", stream=True, at=proxy.server_port),
        "streamed, fails": outcome("Fail.", stream=True),
    }
finally:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
print("the last bytes of a stream that fails:", last)
for how, result in seen.items():
    print(f"{how}: {result}")
well, streamed, failed, ended, half = seen.values()
assert well == streamed == ("first half", "stop", None), "a model that is well is not read; look at this script"
assert failed[2] == "InternalServerError" and ended[2] == "APIError", "the comparison does not hold; look at this script"
if not last.startswith(b'data: {"error"') or half != ("first half", None, None):
    sys.exit("no longer so: an error amid a stream arrives.")
PY
timeout 120 "$folder/venv/bin/python" "$folder/seen.py" "$folder/serve.py"

# Seen on 2026-11-30:
#   litserve 0.2.19 and openai 3.57.0 on Python 3.11.7
#   the last bytes of a stream that fails: b'data: {"error": {"message": "Internal Server Error", "type": "internal", "param": null, "code": "internal_error"}}'
#   whole, well: ('first half', 'stop', None)
#   streamed, well: ('first half', 'stop', None)
#   whole, fails: ('', None, 'InternalServerError')
#   streamed, fails, the event ended: ('first half', None, 'APIError')
#   streamed, fails: ('first half', None, None)
