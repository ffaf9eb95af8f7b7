"""The client library `anthropic`."""

from anthropic import Anthropic
from steps import MESSAGES, MODEL, PARAMETERS, URL, run

ASKED = {"model": MODEL, "messages": MESSAGES, "max_tokens": 200}
TOOL = {"name": "weather", "description": "Tell the weather.", "input_schema": PARAMETERS}


def client(key):
    return Anthropic(base_url=URL, api_key=key, max_retries=0)


def chat(key):
    return client(key).messages.create(**ASKED).content[0].text


def stream(key):
    with client(key).messages.stream(**ASKED) as answer:
        return list(answer.text_stream)


def tool(key):
    answer = client(key).messages.create(**ASKED, tools=[TOOL])
    (call,) = (block for block in answer.content if block.type == "tool_use")
    return call.name, call.input


run(chat, stream, tool)
