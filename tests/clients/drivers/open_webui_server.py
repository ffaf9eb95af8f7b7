"""Open WebUI's server, which runs until the block ends, and its HTTP API, as its administrator uses it."""

import json
import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from steps import KEY, URL

PORT = int(os.environ["FREE_PORT"])
SERVER = f"http://127.0.0.1:{PORT}"
STARTS_WITHIN = 360
OPENER = build_opener(ProxyHandler({}))
headers = {"Content-Type": "application/json"}


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


@contextmanager
def served(**settings):
    """The server, with a connection to OpenAI's API unless the settings have another."""
    own = {
        "DATA_DIR": str(Path("data").absolute()),
        "WEBUI_AUTH": "False",
        "WEBUI_SECRET_KEY": "of-this-run",
        "OPENAI_API_BASE_URL": f"{URL}/v1",
        "OPENAI_API_KEY": KEY,
        "ENABLE_OLLAMA_API": "false",
        "RAG_EMBEDDING_ENGINE": "openai",
        "OFFLINE_MODE": "True",
    }
    command = ["open-webui", "serve", "--host", "127.0.0.1", "--port", str(PORT)]
    with Path("log").open("w") as log:
        server = subprocess.Popen(command, env={**os.environ, **own, **settings}, stdout=log, stderr=log)
        try:
            sign_in()
            yield
        finally:
            server.kill()
            server.wait()
