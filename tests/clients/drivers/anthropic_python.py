"""The client library `anthropic`."""

from anthropic import Anthropic
from steps import MESSAGES, MODEL, PARAMETERS, PICTURE, QUESTION, RESULT, URL, run

ASKED = {"model": MODEL, "messages": MESSAGES, "max_tokens": 200}
PNG = {"type": "base64", "media_type": "image/png", "data": PICTURE}
SHOWN = [{"type": "image", "source": PNG}, {"type": "text", "text": QUESTION}]
TOOL = {"name": "weather", "description": "Tell the weather.", "input_schema": PARAMETERS}


def client(key):
    return Anthropic(base_url=URL, api_key=key, max_retries=0, _strict_response_validation=True)


def chat(key, model=MODEL):
    return client(key).messages.create(**{**ASKED, "model": model}).content[0].text


def stream(key):
    with client(key).messages.stream(**ASKED) as answer:
        return list(answer.text_stream)


def tool(key):
    answer = client(key).messages.create(**ASKED, tools=[TOOL])
    (call,) = (block for block in answer.content if block.type == "tool_use")
    told = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": RESULT}]}
    turns = [*MESSAGES, {"role": "assistant", "content": answer.content}, told]
    last = client(key).messages.create(**{**ASKED, "messages": turns}, tools=[TOOL])
    return call.name, call.input, last.content[0].text


def image(key):
    turns = [{"role": "user", "content": SHOWN}]
    return client(key).messages.create(**{**ASKED, "messages": turns}).content[0].text


run(chat, stream, tool, image)
