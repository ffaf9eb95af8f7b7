"""The program and library `llm`, with `llm-ollama`."""

import os

import llm
from steps import MODEL, PICTURE_BYTES, QUESTION, URL, run

os.environ["OLLAMA_HOST"] = URL


def asked(key, model=MODEL, **more):
    os.environ["OLLAMA_API_KEY"] = key
    return llm.get_model(f"ollama/{model}").prompt(QUESTION, **more)


def weather(city: str, days: int) -> str:
    """Tell the weather."""
    return f"{city}: {days} days of sun"


def chat(key, model=MODEL):
    return asked(key, model, stream=False).text()


def stream(key):
    return list(asked(key))


def tool(key):
    (call,) = asked(key, tools=[weather], stream=False).tool_calls()
    return call.name, call.arguments


def image(key):
    picture = llm.Attachment(type="image/png", content=PICTURE_BYTES)
    return asked(key, attachments=[picture], stream=False).text()


run(chat, stream, tool, image)
