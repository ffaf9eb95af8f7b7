"""LiteLLM's SDK, `openai/`."""

import litellm
from steps import MESSAGES, MODEL, QUESTION, TOOL, URL, called, run


def settings(key):
    return {"model": f"openai/{MODEL}", "api_base": f"{URL}/v1", "api_key": key, "max_retries": 0}


def chat(key):
    return litellm.completion(**settings(key), messages=MESSAGES).choices[0].message.content


def stream(key):
    parts = litellm.completion(**settings(key), messages=MESSAGES, stream=True)
    return [part.choices[0].delta.content for part in parts]


def tool(key):
    (call,) = litellm.completion(**settings(key), messages=MESSAGES, tools=[TOOL]).choices[0].message.tool_calls
    return called(call.function.name, call.function.arguments)


def embed(key):
    return litellm.embedding(**settings(key), input=[QUESTION], encoding_format="float").data[0]["embedding"]


run(chat, stream, tool, embed)
