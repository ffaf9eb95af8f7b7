"""opencode, with a provider of the OpenAI-compatible kind."""

import json
from pathlib import Path

from agent import run
from steps import MODEL, URL


def command(key, prompt):
    options = {"baseURL": f"{URL}/v1", "apiKey": key}
    provider = {"npm": "@ai-sdk/openai-compatible", "options": options, "models": {MODEL: {}}}
    Path("opencode.json").write_text(json.dumps({"provider": {"mine": provider}}), "utf-8")
    return ["opencode", "run", "-m", f"mine/{MODEL}", prompt], {"OPENCODE_DISABLE_MODELS_FETCH": "1"}


run(command)
