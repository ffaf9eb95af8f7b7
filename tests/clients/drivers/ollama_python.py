"""The client library `ollama`."""

from ollama import Client
from steps import MESSAGES, MODEL, PICTURE_BYTES, QUESTION, RESULT, TOOL, URL, run


def client(key):
    return Client(URL, headers={"X-API-Key": key})


def chat(key, model=MODEL):
    return client(key).chat(model, MESSAGES).message.content


def stream(key):
    return [part.message.content for part in client(key).chat(MODEL, MESSAGES, stream=True)]


def tool(key):
    message = client(key).chat(MODEL, MESSAGES, tools=[TOOL]).message
    (call,) = message.tool_calls
    told = {"role": "tool", "tool_name": call.function.name, "content": RESULT}
    last = client(key).chat(MODEL, [*MESSAGES, message, told], tools=[TOOL])
    return call.function.name, call.function.arguments, last.message.content


def image(key):
    return client(key).chat(MODEL, [{**MESSAGES[0], "images": [PICTURE_BYTES]}]).message.content


def embed(key):
    return client(key).embed(MODEL, QUESTION).embeddings[0]


run(chat, stream, tool, image, embed)
