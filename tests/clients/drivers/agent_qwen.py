"""Qwen Code."""

from agent import run
from steps import MODEL, URL


def command(key, prompt):
    variables = {"OPENAI_API_KEY": key, "OPENAI_BASE_URL": f"{URL}/v1", "OPENAI_MODEL": MODEL}
    return ["qwen", "--auth-type", "openai", "-p", prompt], variables


run(command)
