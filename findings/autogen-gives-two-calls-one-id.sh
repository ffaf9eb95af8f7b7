#!/usr/bin/env bash
# AutoGen's client for Ollama gives two calls of one answer the same id; when it streams, every call has the id "0".
#
# The client numbers calls itself. Whole answers: the number rises once for an answer, not for a call, so two calls of
# one answer share it. Streamed ones: it never rises. The library's own type for a result names its call by that id and
# nothing else but the function's name: two questions to one tool cannot be told apart.
# Ids that the server sends, as Ollama does since 0.12.10, are not used.
#
# For whom: whoever matches results, approvals or log lines by the id of a call, and servers that hand out ids.
# Versions: autogen-ext 0.7.5, the newest on 2026-11-30, with ollama 0.6.3; Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install -q --disable-pip-version-check \
    autogen-core==0.7.5 "autogen-ext[ollama]==0.7.5" ollama==0.6.3
timeout 60 "$folder/venv/bin/python" - <<'PY'
import asyncio
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from autogen_core.models import UserMessage
from autogen_core.tools import FunctionTool
from autogen_ext.models.ollama import OllamaChatCompletionClient

CITIES = {"one": ["Rome"], "two": ["Rome", "Oslo"]}


class Server(BaseHTTPRequestHandler):
    """An Ollama whose models ask for the weather, of one city or of two."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        calls = [
            {"id": f"call_{city}", "function": {"name": "weather", "arguments": {"city": city}}}
            for city in CITIES[asked["model"]]
        ]
        shared = {"model": asked["model"], "created_at": "2026-01-01T00:00:00Z"}
        said = {"role": "assistant", "content": "", "tool_calls": calls}
        end = {"done": True, "done_reason": "stop", "prompt_eval_count": 1, "eval_count": 1}
        lines = [shared | {"message": said, "done": False}, shared | {"message": {"role": "assistant", "content": ""}} | end]
        if not asked["stream"]:
            lines = [shared | {"message": said} | end]
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson" if asked["stream"] else "application/json")
        self.end_headers()
        self.wfile.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    def log_message(self, *_):
        pass


def weather(city: str) -> str:
    return "sunny in " + city


async def ids(model, *, stream, times):
    """The ids of each answer's calls, of one client that asks again and again."""
    client = OllamaChatCompletionClient(
        model=model,
        host=f"http://127.0.0.1:{server.server_port}",
        model_info={"vision": False, "function_calling": True, "json_output": True, "family": "m", "structured_output": True},
    )
    asked = {"messages": [UserMessage(content="The weather?", source="user")], "tools": [FunctionTool(weather, description="Weather.")]}
    seen = []
    for _ in range(times):
        if stream:
            async for last in client.create_stream(**asked):
                pass
        else:
            last = await client.create(**asked)
        seen.append([(call.id, json.loads(call.arguments)["city"]) for call in last.content])
    await client.close()
    return seen


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("autogen-ext", version("autogen-ext"), "with ollama", version("ollama"), "on Python", sys.version.split()[0])
apart = asyncio.run(ids("one", stream=False, times=2))
whole = asyncio.run(ids("two", stream=False, times=1))
streamed = asyncio.run(ids("two", stream=True, times=2))
print("two whole answers, a call each:", apart)
print("one whole answer, two calls:", whole)
print("two streamed answers, two calls each:", streamed)
assert apart == [[("0", "Rome")], [("1", "Rome")]], "ids do not tell answers apart either; look at this script"
assert [city for _, city in whole[0]] == ["Rome", "Oslo"], "the calls themselves are wrong; look at this script"
same = len({call for call, _ in whole[0]}) == 1 and {call for answer in streamed for call, _ in answer} == {"0"}
if not same:
    sys.exit("no longer so: each call has an id of its own.")
PY

# Seen on 2026-11-30:
#   autogen-ext 0.7.5 with ollama 0.6.3 on Python 3.11.7
#   two whole answers, a call each: [[('0', 'Rome')], [('1', 'Rome')]]
#   one whole answer, two calls: [[('0', 'Rome'), ('0', 'Oslo')]]
#   two streamed answers, two calls each: [[('0', 'Rome'), ('0', 'Oslo')], [('0', 'Rome'), ('0', 'Oslo')]]
