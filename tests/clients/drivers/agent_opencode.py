"""opencode, with a provider of the OpenAI-compatible kind."""

import json
from pathlib import Path

from agent import PICTURE_FILE, run
from steps import MODEL, QUESTION, URL

SEES = {"attachment": True, "modalities": {"input": ["text", "image"], "output": ["text"]}}


def command(key, prompt, model=MODEL, more=()):
    options = {"baseURL": f"{URL}/v1", "apiKey": key}
    provider = {"npm": "@ai-sdk/openai-compatible", "options": options, "models": {model: SEES}}
    Path("opencode.json").write_text(json.dumps({"provider": {"mine": provider}}), "utf-8")
    return ["opencode", "run", "-m", f"mine/{model}", prompt, *more], {"OPENCODE_DISABLE_MODELS_FETCH": "1"}


run(command, lambda key: command(key, QUESTION, more=("-f", PICTURE_FILE)))
