"""Open WebUI over its own HTTP API, with a connection to OpenAI's API; its server runs while this does."""

import json
import os
import subprocess
import time
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from steps import KEY, MESSAGES, MODEL, QUESTION, TOOL, URL, called, run

PORT = int(os.environ["FREE_PORT"])
SERVER = f"http://127.0.0.1:{PORT}"
STARTS_WITHIN = 120
OPENER = build_opener(ProxyHandler({}))
headers = {"Content-Type": "application/json"}
connected = KEY


class Refused(Exception):
    """Its server's answer, with the status."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status_code = status


def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    try:
        with OPENER.open(Request(SERVER + path, data, headers), timeout=100) as answer:
            return answer.read().decode()
    except HTTPError as error:
        raise Refused(error.code, error.read().decode()) from None


def connect(key):
    """Change the key of the connection, as its administrator does in the settings."""
    global connected
    if key != connected:
        address = {"OPENAI_API_BASE_URLS": [f"{URL}/v1"], "OPENAI_API_KEYS": [key], "OPENAI_API_CONFIGS": {}}
        ask("/openai/config/update", {"ENABLE_OPENAI_API": True, **address})
        connected = key


def completed(key, **more):
    connect(key)
    return ask("/api/chat/completions", {"model": MODEL, "messages": MESSAGES, **more})


def chat(key):
    return json.loads(completed(key, stream=False))["choices"][0]["message"]["content"]


def stream(key):
    events = completed(key, stream=True).splitlines()
    told = [json.loads(event[6:]) for event in events if event.startswith("data: {")]
    return [chunk["choices"][0]["delta"].get("content") for chunk in told if chunk.get("choices")]


def tool(key):
    answer = json.loads(completed(key, stream=False, tools=[TOOL]))
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    return called(call["function"]["name"], call["function"]["arguments"])


def embed(key):
    connect(key)
    return json.loads(ask("/api/embeddings", {"model": MODEL, "input": QUESTION}))["data"][0]["embedding"]


def sign_in():
    """Wait for the server; without accounts it lets everybody in."""
    end = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            ask("/health")
            break
        except (URLError, ConnectionError, Refused):
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
    headers["Authorization"] = (
        f"Bearer {json.loads(ask('/api/v1/auths/signin', {'email': '', 'password': ''}))['token']}"
    )
    ask("/api/models")


settings = {
    "DATA_DIR": str(Path("data").absolute()),
    "WEBUI_AUTH": "False",
    "WEBUI_SECRET_KEY": "of-this-run",
    "OPENAI_API_BASE_URL": f"{URL}/v1",
    "OPENAI_API_KEY": KEY,
    "ENABLE_OLLAMA_API": "false",
    "RAG_EMBEDDING_ENGINE": "openai",
    "OFFLINE_MODE": "True",
}
with Path("log").open("w") as log:
    server = subprocess.Popen(
        ["open-webui", "serve", "--host", "127.0.0.1", "--port", str(PORT)],
        env={**os.environ, **settings},
        stdout=log,
        stderr=log,
    )
    try:
        sign_in()
        run(chat, stream, tool, embed)
    finally:
        server.kill()
        server.wait()
