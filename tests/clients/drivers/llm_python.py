"""The program and library `llm`, with `llm-ollama`."""

import os

import llm
from steps import MODEL, QUESTION, URL, run

os.environ["OLLAMA_HOST"] = URL


def asked(key, **more):
    os.environ["OLLAMA_API_KEY"] = key
    return llm.get_model(f"ollama/{MODEL}").prompt(QUESTION, **more)


def weather(city: str, days: int) -> str:
    """Tell the weather."""
    return f"{city}: {days} days of sun"


def chat(key):
    return asked(key, stream=False).text()


def stream(key):
    return list(asked(key))


def tool(key):
    (call,) = asked(key, tools=[weather], stream=False).tool_calls()
    return call.name, call.arguments


run(chat, stream, tool)
