#!/usr/bin/env bash
# LitServe that is told to stop by SIGTERM ends at once, and its workers go on answering.
#
# The documentation of `LitServer.run` has SIGTERM as the way to a graceful end. But only the process that was started
# ends: it has no handler for the signal. The processes that listen and compute were its children, belong to nobody
# then, keep the port and the memory, and answer as before, also `GET /health`. SIGINT, which is Ctrl+C, ends all of them.
#
# For whom: supervisors and scripts that signal the one process that they started and wait for it (`Popen.terminate()`, `kill`):
# a gateway goes on asking what was stopped, which says that it is healthy.
# Versions: litserve 0.2.19, the newest on 2026-11-30; Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
timeout 500 "$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check litserve==0.2.19
cat >"$folder/serve.py" <<'PY'
import sys

import litserve


class Api(litserve.LitAPI):
    """A model that doubles a number."""

    def setup(self, device):
        pass

    def decode_request(self, request):
        return request["number"]

    def predict(self, number):
        return 2 * number

    def encode_response(self, number):
        return {"number": number}


if __name__ == "__main__":
    litserve.LitServer(Api(), accelerator="cpu").run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
PY
cat >"$folder/seen.py" <<'PY'
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import version

LATER = 5.0


def asked(port):
    """What twice three is, or None where nobody answers."""
    body = json.dumps({"number": 3}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)["number"]
    except OSError:
        return None


def stopped_by(sent):
    """The answers while it runs, and some seconds after the process that was started has ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, sys.argv[1], str(port)], start_new_session=True, **quiet)
    try:
        until = time.monotonic() + 60
        while (before := asked(port)) is None and time.monotonic() < until:
            time.sleep(0.5)
        process.send_signal(sent)
        process.wait(timeout=60)
        time.sleep(LATER)
        return before, asked(port)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


print("litserve", version("litserve"), "on Python", sys.version.split()[0])
seen = {sent.name: stopped_by(sent) for sent in (signal.SIGINT, signal.SIGTERM)}
for name, (before, after) in seen.items():
    print(f"{name}: it answers {before}; {LATER:.0f} s after its end it answers {after}")
assert seen["SIGINT"] == (6, None), "the comparison does not hold; look at this script"
assert seen["SIGTERM"][0] == 6, "it does not start; look at this script"
if seen["SIGTERM"][1] != 6:
    sys.exit("no longer so: nobody answers when it has ended.")
PY
timeout 180 "$folder/venv/bin/python" "$folder/seen.py" "$folder/serve.py"

# Seen on 2026-11-30:
#   litserve 0.2.19 on Python 3.11.7
#   SIGINT: it answers 6; 5 s after its end it answers None
#   SIGTERM: it answers 6; 5 s after its end it answers 6
