"""LiteLLM's SDK, `ollama_chat/`."""

import litellm
from steps import MESSAGES, MODEL, QUESTION, TOOL, URL, called, run


def settings(key):
    return {"model": f"ollama_chat/{MODEL}", "api_base": URL, "api_key": key, "messages": MESSAGES, "max_retries": 0}


def chat(key):
    return litellm.completion(**settings(key)).choices[0].message.content


def stream(key):
    return [part.choices[0].delta.content for part in litellm.completion(**settings(key), stream=True)]


def tool(key):
    (call,) = litellm.completion(**settings(key), tools=[TOOL]).choices[0].message.tool_calls
    return called(call.function.name, call.function.arguments)


def embed(key):
    answer = litellm.embedding(model=f"ollama/{MODEL}", api_base=URL, api_key=key, input=[QUESTION])
    return answer.data[0]["embedding"]


run(chat, stream, tool, embed)
