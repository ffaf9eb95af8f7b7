"""LiteLLM's SDK, `openai/`."""

import litellm
from steps import MESSAGES, MODEL, QUESTION, RESULT, SHOWN, TOOL, URL, called, run


def settings(key, model=MODEL):
    return {"model": f"openai/{model}", "api_base": f"{URL}/v1", "api_key": key, "max_retries": 0}


def chat(key, model=MODEL):
    return litellm.completion(**settings(key, model), messages=MESSAGES).choices[0].message.content


def stream(key):
    parts = litellm.completion(**settings(key), messages=MESSAGES, stream=True)
    return [part.choices[0].delta.content for part in parts]


def tool(key):
    asked = settings(key) | {"tools": [TOOL]}
    message = litellm.completion(**asked, messages=MESSAGES).choices[0].message
    (call,) = message.tool_calls
    told = {"role": "tool", "tool_call_id": call.id, "content": RESULT}
    last = litellm.completion(**asked, messages=[*MESSAGES, message.model_dump(), told])
    return *called(call.function.name, call.function.arguments), last.choices[0].message.content


def image(key):
    messages = [{"role": "user", "content": SHOWN}]
    return litellm.completion(**settings(key), messages=messages).choices[0].message.content


def embed(key):
    return litellm.embedding(**settings(key), input=[QUESTION], encoding_format="float").data[0]["embedding"]


run(chat, stream, tool, image, embed)
