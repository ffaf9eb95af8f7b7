"""Qwen Code, told that its model sees pictures."""

import json
from pathlib import Path

from agent import PICTURE_FILE, run
from steps import MODEL, QUESTION, URL

SETTINGS = {"model": {"generationConfig": {"modalities": {"image": True}}}}


def command(key, prompt, model=MODEL):
    settings = Path(".qwen/settings.json")
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(json.dumps(SETTINGS), "utf-8")
    variables = {"OPENAI_API_KEY": key, "OPENAI_BASE_URL": f"{URL}/v1", "OPENAI_MODEL": model}
    return ["qwen", "--auth-type", "openai", "-p", prompt], variables


run(command, lambda key: command(key, f"{QUESTION} @{PICTURE_FILE}"))
