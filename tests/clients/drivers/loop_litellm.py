"""LiteLLM's SDK, `ollama_chat/`: what CrewAI, smolagents, Google's ADK and others stand on."""

import json

import litellm
from loop_steps import BY_NAME, KEY, MODEL, TASK, TOOLS, URL, loop


def looped(stream):
    messages = [{"role": "user", "content": TASK}]
    while True:
        said = asked(messages, stream)
        messages.append(said.model_dump(exclude_none=True))
        if not said.tool_calls:
            return said.content
        for call in said.tool_calls:
            content = BY_NAME[call.function.name](**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "name": call.function.name, "content": content})


def asked(messages, stream):
    settings = {"model": f"ollama_chat/{MODEL}", "api_base": URL, "api_key": KEY, "messages": messages, "tools": TOOLS}
    answer = litellm.completion(**settings, stream=stream)
    whole = litellm.stream_chunk_builder([*answer]) if stream else answer
    return whole.choices[0].message


loop(whole=lambda: looped(False), streamed=lambda: looped(True))
