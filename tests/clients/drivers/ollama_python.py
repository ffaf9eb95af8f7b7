"""The client library `ollama`."""

from ollama import Client
from steps import MESSAGES, MODEL, QUESTION, TOOL, URL, run


def client(key):
    return Client(URL, headers={"X-API-Key": key})


def chat(key):
    return client(key).chat(MODEL, MESSAGES).message.content


def stream(key):
    return [part.message.content for part in client(key).chat(MODEL, MESSAGES, stream=True)]


def tool(key):
    (call,) = client(key).chat(MODEL, MESSAGES, tools=[TOOL]).message.tool_calls
    return call.function.name, call.function.arguments


def embed(key):
    return client(key).embed(MODEL, QUESTION).embeddings[0]


run(chat, stream, tool, embed)
