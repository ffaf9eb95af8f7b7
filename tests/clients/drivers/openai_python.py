"""The client library `openai`, chat completions."""

from openai import OpenAI
from steps import MESSAGES, MODEL, QUESTION, TOOL, URL, called, run


def client(key):
    return OpenAI(base_url=f"{URL}/v1", api_key=key, max_retries=0)


def chat(key):
    return client(key).chat.completions.create(model=MODEL, messages=MESSAGES).choices[0].message.content


def stream(key):
    chunks = client(key).chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
    return [chunk.choices[0].delta.content for chunk in chunks]


def tool(key):
    answer = client(key).chat.completions.create(model=MODEL, messages=MESSAGES, tools=[TOOL])
    (call,) = answer.choices[0].message.tool_calls
    return called(call.function.name, call.function.arguments)


def embed(key):
    return client(key).embeddings.create(model=MODEL, input=QUESTION).data[0].embedding


run(chat, stream, tool, embed)
