"""The client library `ollama`: a loop as its documentation has it, results with and without the tool's name."""

from loop_steps import BY_NAME, HEADERS, MODEL, TASK, TOOLS, URL, loop
from ollama import Client

CLIENT = Client(URL, headers=HEADERS)


def looped(stream, named_by):
    messages = [{"role": "user", "content": TASK}]
    while True:
        said = asked(messages, stream)
        messages.append(said)
        if not said.get("tool_calls"):
            return said["content"]
        for call in said["tool_calls"]:
            function = call["function"]
            content = BY_NAME[function["name"]](**function["arguments"])
            name = {named_by: function["name"]} if named_by else {}
            messages.append({"role": "tool", "content": content, **name})


def asked(messages, stream):
    if not stream:
        return CLIENT.chat(MODEL, messages, tools=TOOLS).message.model_dump(exclude_none=True)
    said = {"role": "assistant", "content": "", "thinking": "", "tool_calls": []}
    for part in CLIENT.chat(MODEL, messages, tools=TOOLS, stream=True):
        told = part.message.model_dump(exclude_none=True)
        for name in ("content", "thinking", "tool_calls"):
            said[name] += told.get(name) or type(said[name])()
    return said


loop(
    whole=lambda: looped(False, "tool_name"),
    streamed=lambda: looped(True, "tool_name"),
    whole_by_name=lambda: looped(False, "name"),
    streamed_without_a_name=lambda: looped(True, ""),
)
