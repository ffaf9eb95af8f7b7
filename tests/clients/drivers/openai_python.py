"""The client library `openai`, chat completions."""

from openai import OpenAI
from steps import MESSAGES, MODEL, QUESTION, RESULT, SHOWN, TOOL, URL, called, run


def client(key, strict=True):
    return OpenAI(base_url=f"{URL}/v1", api_key=key, max_retries=0, _strict_response_validation=strict)


def chat(key, model=MODEL):
    return client(key).chat.completions.create(model=model, messages=MESSAGES).choices[0].message.content


def stream(key):
    chunks = client(key).chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
    return [chunk.choices[0].delta.content for chunk in chunks]


def tool(key):
    answer = client(key).chat.completions.create(model=MODEL, messages=MESSAGES, tools=[TOOL])
    message = answer.choices[0].message
    (call,) = message.tool_calls
    told = {"role": "tool", "tool_call_id": call.id, "content": RESULT}
    last = client(key).chat.completions.create(model=MODEL, messages=[*MESSAGES, message, told], tools=[TOOL])
    return *called(call.function.name, call.function.arguments), last.choices[0].message.content


def image(key):
    turns = [{"role": "user", "content": SHOWN}]
    return client(key).chat.completions.create(model=MODEL, messages=turns).choices[0].message.content


def embed(key):
    # It asks for base64, which its own validation takes for no vector.
    return client(key, strict=False).embeddings.create(model=MODEL, input=QUESTION).data[0].embedding


run(chat, stream, tool, image, embed)
