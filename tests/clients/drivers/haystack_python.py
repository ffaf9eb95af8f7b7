"""Haystack's `ollama-haystack`; the library `ollama` beneath it takes the key from the environment."""

import os

from haystack.dataclasses import ChatMessage, ImageContent
from haystack.tools import Tool
from haystack_integrations.components.embedders.ollama import OllamaTextEmbedder
from haystack_integrations.components.generators.ollama import OllamaChatGenerator
from steps import MODEL, PARAMETERS, PICTURE, QUESTION, URL, run

ASKED = [ChatMessage.from_user(QUESTION)]


def asked(key, model=MODEL, messages=ASKED, **more):
    os.environ["OLLAMA_API_KEY"] = key
    return OllamaChatGenerator(model, URL, **more).run(messages)["replies"][0]


def chat(key, model=MODEL):
    return asked(key, model).text


def stream(key):
    parts = []
    whole = asked(key, streaming_callback=lambda part: parts.append(part.content)).text
    assert whole == "".join(parts)
    return parts


def tool(key):
    weather = Tool("weather", "Tell the weather.", PARAMETERS, function=str)
    (call,) = asked(key, tools=[weather]).tool_calls
    return call.tool_name, call.arguments


def image(key):
    shown = ChatMessage.from_user(content_parts=[QUESTION, ImageContent(PICTURE, mime_type="image/png")])
    return asked(key, messages=[shown]).text


def embed(key):
    os.environ["OLLAMA_API_KEY"] = key
    return OllamaTextEmbedder(MODEL, URL).run(QUESTION)["embedding"]


run(chat, stream, tool, image, embed)
