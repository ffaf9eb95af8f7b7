#!/usr/bin/env bash
# Ollama's library for Python, and langchain-ollama's `invoke` on top of it, take half a stream for a whole one.
#
# A stream of Ollama is whole when a line says `done: true`. Proxies that lose the server behind them can end the HTTP
# body properly all the same. The library reads to the end of the body and never asks for that line: its
# loop just ends. `ChatOllama.invoke` streams beneath, though nobody asked it to, and returns the half as an
# answer, with no counts and no reason of its end as the only trace. A body that ends improperly does raise.
# Ollama's library for JavaScript, 0.6.4, raises in both cases ("Did not receive done or success response in stream.").
#
# For whom: whoever runs Ollama behind proxies, and servers that must say why they end early: a line with `error` is raised.
# Versions: ollama 0.6.3 and langchain-ollama 1.1.0, the newest on 2026-11-30; Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
timeout 500 "$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check ollama==0.6.3 langchain-ollama==1.1.0 langchain-core==1.8.3
LANGSMITH_TRACING=false timeout 120 "$folder/venv/bin/python" - <<'PY'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import ollama
from langchain_ollama import ChatOllama


class Server(BaseHTTPRequestHandler):
    """An Ollama behind a proxy. The model's name says how its stream ends."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        model = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["model"]
        shared = {"model": model, "created_at": "2026-01-01T00:00:00Z"}
        lines = [shared | {"message": {"role": "assistant", "content": text}, "done": False} for text in ("Take ", "two")]
        if model == "whole":
            end = {"done": True, "done_reason": "stop", "prompt_eval_count": 5, "eval_count": 3}
            lines.append(shared | {"message": {"role": "assistant", "content": " a day."}} | end)
        if model == "failed":
            lines.append({"error": "the backend is gone"})
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        for line in lines:
            data = json.dumps(line).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        if model != "torn":
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"


def streamed(model):
    parts = ollama.Client(host=address).chat(model, messages=[{"role": "user", "content": "How many?"}], stream=True)
    return "".join(part.message.content for part in parts), "no error"


def invoked(model):
    answer = ChatOllama(model=model, base_url=address).invoke("How many?")
    return answer.content, f"no error, usage {answer.usage_metadata and answer.usage_metadata['total_tokens']}"


def seen(asking, model):
    try:
        return asking(model)
    except Exception as error:
        return "", type(error).__name__


print("ollama", version("ollama"), "and langchain-ollama", version("langchain-ollama"), "on Python", sys.version.split()[0])
ends = {model: (seen(streamed, model), seen(invoked, model)) for model in ("whole", "torn", "failed", "cut")}
for model, (by_ollama, by_langchain) in ends.items():
    print(f"{model}: ollama {by_ollama}, ChatOllama.invoke {by_langchain}")
assert all(text == "Take two a day." for text, _ in ends["whole"]), "a whole stream is not read; look at this script"
errors = [{name for _, name in ends[model]} for model in ("torn", "failed")]
assert errors == [{"RemoteProtocolError"}, {"ResponseError"}], "the comparison does not hold; look at this script"
if any(text != "Take two" for text, _ in ends["cut"]):
    sys.exit("no longer so: half a stream is an error.")
PY

# Seen on 2026-11-30:
#   ollama 0.6.3 and langchain-ollama 1.1.0 on Python 3.11.7
#   whole: ollama ('Take two a day.', 'no error'), ChatOllama.invoke ('Take two a day.', 'no error, usage 8')
#   torn: ollama ('', 'RemoteProtocolError'), ChatOllama.invoke ('', 'RemoteProtocolError')
#   failed: ollama ('', 'ResponseError'), ChatOllama.invoke ('', 'ResponseError')
#   cut: ollama ('Take two', 'no error'), ChatOllama.invoke ('Take two', 'no error, usage None')
