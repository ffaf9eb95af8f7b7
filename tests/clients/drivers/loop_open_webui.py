"""Open WebUI with a tool of its workspace, in a chat as its page begins one; it calls tools in streams alone."""

import inspect
import json
import time
import uuid
from pathlib import Path

from loop_steps import CALLS, FUNCTIONS, KEY, MODEL, TASK, URL, loop
from open_webui_server import ask, served

LOG = Path("calls.jsonl").absolute()
LONGEST = 100
HEAD = f"""import json

class Log(list):
    def append(self, call):
        with open({str(LOG)!r}, "a") as log:
            log.write(json.dumps(call) + chr(10))

CALLS = Log()

class Tools:
"""
OLLAMA = {"ENABLE_OLLAMA_API": "true", "ENABLE_OPENAI_API": "false", "OLLAMA_BASE_URL": URL}


def workspace():
    """Its tool: the functions, as methods."""
    methods = "".join(f"    {line}\n" for each in FUNCTIONS for line in inspect.getsource(each).splitlines())
    for function in FUNCTIONS:
        methods = methods.replace(f"def {function.__name__}(", f"def {function.__name__}(self, ")
    ask("/api/v1/tools/create", {"id": "town", "name": "town", "content": HEAD + methods, "meta": {}})


def looped(**settings):
    with served(**settings):
        if settings:
            connection = {"OLLAMA_BASE_URLS": [URL], "OLLAMA_API_CONFIGS": {"0": {"enable": True, "key": KEY}}}
            ask("/ollama/config/update", {"ENABLE_OLLAMA_API": True, **connection})
        ask("/api/models?refresh=true")
        workspace()
        said = answered(begun())
    CALLS.extend(json.loads(line) for line in LOG.read_text().splitlines())
    return said


def begun():
    """A new chat, and its first answer."""
    mine, its = str(uuid.uuid4()), str(uuid.uuid4())
    turn = {"role": "user", "content": TASK}
    body = {
        "model": MODEL,
        "messages": [turn],
        "stream": True,
        "tool_ids": ["town"],
        "params": {"function_calling": "native"},
        "session_id": "page",
        "id": its,
        "parent_id": None,
        "user_message": {**turn, "id": mine, "parentId": None, "childrenIds": [its], "models": [MODEL]},
    }
    return json.loads(ask("/api/chat/completions", body))["chat_id"], its


def answered(begun):
    """The words of the answer, once it is done."""
    chat, answer = begun
    end = time.monotonic() + LONGEST
    while True:
        message = json.loads(ask(f"/api/v1/chats/{chat}"))["chat"]["history"]["messages"].get(answer, {})
        if message.get("error"):
            raise RuntimeError(message["error"])
        if message.get("done"):
            parts = [part for item in message["output"] if item["type"] == "message" for part in item["content"]]
            return "".join(part["text"] for part in parts).strip()
        if time.monotonic() > end:
            raise TimeoutError(f"it is not done: {message}")
        time.sleep(0.2)


loop(streamed=lambda: looped(**OLLAMA), streamed_on_v1=looped)
