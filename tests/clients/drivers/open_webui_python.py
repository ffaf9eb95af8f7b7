"""Open WebUI over its own HTTP API, with a connection to OpenAI's API; its server runs while this does."""

import json

from open_webui_server import ask, served
from steps import KEY, MESSAGES, MODEL, QUESTION, RESULT, SHOWN, TOOL, URL, called, run

connected = KEY


def connect(key):
    """Change the key of the connection, as its administrator does in the settings."""
    global connected
    if key != connected:
        address = {"OPENAI_API_BASE_URLS": [f"{URL}/v1"], "OPENAI_API_KEYS": [key], "OPENAI_API_CONFIGS": {}}
        ask("/openai/config/update", {"ENABLE_OPENAI_API": True, **address})
        connected = key


def completed(key, **more):
    connect(key)
    return ask("/api/chat/completions", {"model": MODEL, "messages": MESSAGES} | more)


def chat(key, model=MODEL):
    return json.loads(completed(key, model=model, stream=False))["choices"][0]["message"]["content"]


def stream(key):
    events = completed(key, stream=True).splitlines()
    told = [json.loads(event[6:]) for event in events if event.startswith("data: {")]
    return [chunk["choices"][0]["delta"].get("content") for chunk in told if chunk.get("choices")]


def tool(key):
    message = json.loads(completed(key, stream=False, tools=[TOOL]))["choices"][0]["message"]
    (call,) = message["tool_calls"]
    result = {"role": "tool", "tool_call_id": call["id"], "content": RESULT}
    answer = json.loads(completed(key, stream=False, tools=[TOOL], messages=[*MESSAGES, message, result]))
    said = answer["choices"][0]["message"]["content"]
    return *called(call["function"]["name"], call["function"]["arguments"]), said


def image(key):
    answer = completed(key, messages=[{"role": "user", "content": SHOWN}], stream=False)
    return json.loads(answer)["choices"][0]["message"]["content"]


def embed(key):
    connect(key)
    return json.loads(ask("/api/embeddings", {"model": MODEL, "input": QUESTION}))["data"][0]["embedding"]


with served():
    run(chat, stream, tool, image, embed)
