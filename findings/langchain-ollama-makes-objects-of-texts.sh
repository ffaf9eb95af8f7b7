#!/usr/bin/env bash
# langchain-ollama makes an object of a tool's argument that is a text, where the text reads as JSON.
#
# Ollama sends the arguments of a call as an object, whose members have the types that the model gave them. langchain-ollama
# reads each text among them once more: one that parses as a JSON object or list, or as a dictionary or list of Python,
# is replaced by that. A tool that takes a text, and is called to write `{"private": true}` into a file, is handed
# a dictionary: its own check refuses it, or it writes something else. Numbers in texts stay texts. An argument
# that is called `functionName` and holds the tool's name is dropped. The library of Ollama beneath has all as it was sent, and
# langchain-openai, of the same call over /v1, too.
#
# For whom: agents that write files of JSON, queries, templates or notebooks, and whoever looks for the fault in the model.
# Versions: langchain-ollama 1.1.0, langchain-openai 1.7.4, langchain-core 1.8.3, ollama 0.6.3, the newest on 2026-11-30; Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
timeout 500 "$folder/venv/bin/pip" install -q --no-compile --disable-pip-version-check \
    langchain-ollama==1.1.0 langchain-openai==1.7.4 langchain-core==1.8.3 ollama==0.6.3
LANGSMITH_TRACING=false timeout 120 "$folder/venv/bin/python" - <<'PY'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import ollama
from langchain_core.tools import tool
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI
from pydantic import ValidationError

SENT = {
    "write": {"path": "package.json", "text": '{"private": true}'},
    "list": {"path": "numbers", "text": "[1, 2]"},
    "number": {"path": "number", "text": "12"},
    "rename": {"path": "module.py", "functionName": "rename"},
}


class Server(BaseHTTPRequestHandler):
    """An Ollama whose models call a tool each, and the same over /v1. The model's name says which call."""

    def do_POST(self):
        model = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["model"]
        name, arguments = "rename" if model == "rename" else "write", SENT[model]
        said = {"role": "assistant", "content": ""}
        if self.path == "/api/chat":
            calls = [{"function": {"name": name, "arguments": arguments}}]
            shared = {"model": model, "created_at": "2026-01-01T00:00:00Z", "message": said | {"tool_calls": calls}}
            answer = shared | {"done": True, "done_reason": "stop", "prompt_eval_count": 1, "eval_count": 1}
        else:
            calls = [{"id": "call_1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}]
            choice = {"index": 0, "message": said | {"tool_calls": calls}, "finish_reason": "tool_calls"}
            answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode() + b"\n")

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"


@tool
def write(path: str, text: str) -> str:
    """Write a text to a file."""
    return f"wrote {len(text)} characters"


def outcome(call):
    try:
        return write.invoke(call).content
    except ValidationError as error:
        return error.errors()[0]["msg"]


print(", ".join(f"{name} {version(name)}" for name in ("langchain-ollama", "langchain-openai", "langchain-core", "ollama")), end="")
print(", Python", sys.version.split()[0])
seen, outcomes = {}, {}
for model, sent in SENT.items():
    by_ollama = ollama.Client(host=address).chat(model, messages=[{"role": "user", "content": "Go."}])
    by_openai = ChatOpenAI(model=model, base_url=f"{address}/v1", api_key="none").invoke("Go.").tool_calls[0]
    by_chat = ChatOllama(model=model, base_url=address).invoke("Go.").tool_calls[0]
    seen[model] = by_chat["args"]
    print(f"sent {sent}: ChatOllama has {by_chat['args']}")
    right = by_openai["args"] == dict(by_ollama.message.tool_calls[0].function.arguments) == sent
    assert right, "the comparison does not hold; look at this script"
    if model == "write":
        outcomes = {"ChatOpenAI": outcome(by_openai), "ChatOllama": outcome(by_chat)}
print("the tool that is called so:", outcomes)
assert seen["number"] == SENT["number"], "a number in a text is no text either; look at this script"
assert outcomes["ChatOpenAI"] == "wrote 17 characters", "the tool takes no text; look at this script"
if seen["write"]["text"] != {"private": True} or seen["list"]["text"] != [1, 2]:
    sys.exit("no longer so: a text stays a text.")
if outcomes["ChatOllama"] != "Input should be a valid string":
    sys.exit("no longer so: the tool is handed a text.")
if "functionName" in seen["rename"]:
    sys.exit("no longer so: no argument is dropped.")
PY

# Seen on 2026-11-30:
#   langchain-ollama 1.1.0, langchain-openai 1.7.4, langchain-core 1.8.3, ollama 0.6.3, Python 3.11.7
#   sent {'path': 'package.json', 'text': '{"private": true}'}: ChatOllama has {'path': 'package.json', 'text': {'private': True}}
#   sent {'path': 'numbers', 'text': '[1, 2]'}: ChatOllama has {'path': 'numbers', 'text': [1, 2]}
#   sent {'path': 'number', 'text': '12'}: ChatOllama has {'path': 'number', 'text': '12'}
#   sent {'path': 'module.py', 'functionName': 'rename'}: ChatOllama has {'path': 'module.py'}
#   the tool that is called so: {'ChatOpenAI': 'wrote 17 characters', 'ChatOllama': 'Input should be a valid string'}
