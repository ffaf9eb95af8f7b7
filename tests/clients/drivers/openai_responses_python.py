"""The client library `openai`, responses."""

from openai import OpenAI
from steps import MODEL, PARAMETERS, PICTURE_URL, QUESTION, RESULT, URL, called, run

ASKED = {"model": MODEL, "input": QUESTION}
TOOL = {
    "type": "function",
    "name": "weather",
    "description": "Tell the weather.",
    "parameters": PARAMETERS,
    "strict": False,
}
SHOWN = [{"type": "input_text", "text": QUESTION}, {"type": "input_image", "image_url": PICTURE_URL}]


def client(key):
    return OpenAI(base_url=f"{URL}/v1", api_key=key, max_retries=0, _strict_response_validation=True)


def chat(key, model=MODEL):
    return client(key).responses.create(**{**ASKED, "model": model}).output_text


def stream(key):
    with client(key).responses.stream(**ASKED) as events:
        return [event.delta for event in events if event.type == "response.output_text.delta"]


def tool(key):
    answer = client(key).responses.create(**ASKED, tools=[TOOL])
    (call,) = (item for item in answer.output if item.type == "function_call")
    told = {"type": "function_call_output", "call_id": call.call_id, "output": RESULT}
    turns = [{"role": "user", "content": QUESTION}, *answer.output, told]
    last = client(key).responses.create(model=MODEL, input=turns, tools=[TOOL])
    return *called(call.name, call.arguments), last.output_text


def image(key):
    return client(key).responses.create(model=MODEL, input=[{"role": "user", "content": SHOWN}]).output_text


run(chat, stream, tool, image)
