"""Continue's command line, with its provider for Ollama."""

from pathlib import Path

from agent import run
from steps import MODEL, URL

CONFIGURATION = """name: mine
version: 0.0.1
schema: v1
models:
  - name: Mine
    provider: ollama
    model: {model}
    apiBase: {url}
    apiKey: {key}
    roles: [chat]
"""


def command(key, prompt, model=MODEL):
    file = Path("config.yaml").absolute()
    file.write_text(CONFIGURATION.format(model=model, url=URL, key=key), "utf-8")
    return ["cn", "--config", str(file), "-p", prompt], {"CONTINUE_TELEMETRY_ENABLED": "0"}


run(command)
