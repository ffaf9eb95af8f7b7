"""Haystack's `ollama-haystack`; the library `ollama` beneath it takes the key from the environment."""

import os

from haystack.dataclasses import ChatMessage
from haystack.tools import Tool
from haystack_integrations.components.embedders.ollama import OllamaTextEmbedder
from haystack_integrations.components.generators.ollama import OllamaChatGenerator
from steps import MODEL, PARAMETERS, QUESTION, URL, run

ASKED = [ChatMessage.from_user(QUESTION)]


def asked(key, **more):
    os.environ["OLLAMA_API_KEY"] = key
    return OllamaChatGenerator(MODEL, URL, **more).run(ASKED)["replies"][0]


def chat(key):
    return asked(key).text


def stream(key):
    parts = []
    whole = asked(key, streaming_callback=lambda part: parts.append(part.content)).text
    assert whole == "".join(parts)
    return parts


def tool(key):
    weather = Tool("weather", "Tell the weather.", PARAMETERS, function=str)
    (call,) = asked(key, tools=[weather]).tool_calls
    return call.tool_name, call.arguments


def embed(key):
    os.environ["OLLAMA_API_KEY"] = key
    return OllamaTextEmbedder(MODEL, URL).run(QUESTION)["embedding"]


run(chat, stream, tool, embed)
