"""What is asked on OpenAI's and Anthropic's routes: the service has to answer what the server answers."""

from __future__ import annotations

from typing import Any, Final

from tests.e2e.wire import Request
from tests.servers.real.case import MODEL, Case, get, post
from tests.servers.real.right import SENTENCE, Has, Messages, Refused
from tests.servers.real.values import PICTURE, QUESTION, SCHEMA, TOOLS, called, one_tool

CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"
EMBEDDINGS: Final = "/v1/embeddings"
RESPONSES: Final = "/v1/responses"
MESSAGES: Final = "/v1/messages"
_USAGE: Final = {"stream_options": {"include_usage": True}}
_SIX: Final = {"stop": ["a1", "a2", "a3", "a4", "a5", " as"]}
_JSON: Final[dict[str, Any]] = {"response_format": {"type": "json_object"}, "temperature": 0, "max_tokens": 20}
_SCHEMA: Final[dict[str, Any]] = {
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
    "temperature": 0,
}
_LOOP: Final[list[dict[str, Any]]] = [
    *QUESTION,
    {"role": "assistant", "content": "", "tool_calls": [called("call00001")]},
    {"role": "tool", "tool_call_id": "call00001", "content": "rain"},
]
_WHOLE: Final[dict[str, dict[str, Any]]] = {
    "": {},
    "max_tokens": {"max_tokens": 3},
    "stop": {"stop": [" as"]},
    "6 stops": _SIX,
    "n=2": {"n": 2},
    "temperature 0": {"temperature": 0, "seed": 7},
    "temperature 2.5": {"temperature": 2.5},
    "top_p 0": {"top_p": 0},
    "max_tokens 100000": {"max_tokens": 100000},
}
_CHAT: Final[dict[str, dict[str, Any]]] = {
    **_WHOLE,
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "tools": {"tools": TOOLS},
    "tool result": {"messages": _LOOP, "tools": TOOLS},
    "tool_choice": {"tools": TOOLS, "tool_choice": one_tool(), "temperature": 0, "max_tokens": 20},
    "json_object": _JSON,
    "json_schema": _SCHEMA,
    "thinking": {"chat_template_kwargs": {"enable_thinking": True}},
    "image": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PICTURE}}]}]},
    "unknown model": {"model": "nope"},
    "unknown field": {"nonsense": 1},
    "messages a text": {"messages": "Why?"},
    "no messages": {"messages": []},
}
_TEXT: Final[dict[str, dict[str, Any]]] = {
    **_WHOLE,
    "logprobs": {"logprobs": 2},
    "two prompts": {"prompt": ["Why?", "How?"]},
    "echo": {"echo": True, "max_tokens": 2},
    "unknown model": {"model": "nope"},
    "prompt a number": {"prompt": 7},
}


def _both(cases: dict[str, Case], name: str, path: str, body: dict[str, Any], *needs: str) -> None:
    cases[name] = post(path, body, None, *needs)
    cases[f"{name}, streamed"] = post(path, {**body, "stream": True}, None, *needs)


def _cases() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for name, extra in _CHAT.items():
        _both(cases, f"{CHAT} {name}".strip(), CHAT, {"messages": QUESTION, **extra}, "chat")
    for name, extra in _TEXT.items():
        _both(cases, f"{COMPLETIONS} {name}".strip(), COMPLETIONS, {"prompt": "Why?", **extra}, "completions")
    for path, asked in ((CHAT, {"messages": QUESTION}), (COMPLETIONS, {"prompt": "Why?"})):
        need = path.rpartition("/v1/")[2].partition("/")[0]
        cases[f"{path} streamed with usage"] = post(path, {**asked, "stream": True, **_USAGE}, None, need)
    cases |= {
        f"{CHAT} no JSON": post(CHAT, b"{", None, "chat"),
        f"{CHAT} no model": Case(
            Request("POST", CHAT, (("Content-Type", "application/json"),), b'{"messages":[]}'),
            None,
            frozenset({"chat"}),
        ),
        "/v1/models": get("/v1/models"),
        f"/v1/models/{MODEL}": get(
            f"/v1/models/{MODEL}", Has({"id": bool, "object": "model", "owned_by": bool}), "list"
        ),
        "/v1/models/nope": get("/v1/models/nope", Refused(404, ["nope"], dialect="openai"), "list"),
    }
    return cases | _embeddings() | _responses() | _messages()


def _embeddings() -> dict[str, Case]:
    bodies: dict[str, dict[str, Any]] = {
        "": {"input": "Why?"},
        "several": {"input": ["Why?", "How?"]},
        "base64": {"input": "Why?", "encoding_format": "base64"},
        "tokens": {"input": [[40, 41]]},
        "dimensions": {"input": "Why?", "dimensions": 4},
        "unknown model": {"model": "nope", "input": "Why?"},
        "input a number": {"input": 7},
        "too long": {"input": "a" * 2000},
    }
    cases = {
        f"{EMBEDDINGS} {name}".strip(): post(EMBEDDINGS, body, None, "embeddings") for name, body in bodies.items()
    }
    refused = Refused(501, ["/v1/embeddings"], "not_implemented", "openai")
    return {
        **cases,
        f"{EMBEDDINGS} where there are none": post(EMBEDDINGS, {"input": "Why?"}, refused, "no embeddings"),
    }


def _responses() -> dict[str, Case]:
    tools = [{"type": "function", **tool["function"]} for tool in TOOLS]
    bodies: dict[str, dict[str, Any]] = {
        "": {"input": "Why?"},
        "items": {"input": QUESTION},
        "instructions": {"input": "Why?", "instructions": "Be brief."},
        "max_output_tokens": {"input": "Why?", "max_output_tokens": 3},
        "tools": {"input": "Why?", "tools": tools},
        "unknown model": {"model": "nope", "input": "Why?"},
        "no input": {},
    }
    cases: dict[str, Case] = {}
    for name, body in bodies.items():
        _both(cases, f"{RESPONSES} {name}".strip(), RESPONSES, {"store": False, **body}, "responses")
    told = Has({"status": "completed", "output": lambda items: items[-1]["content"][0]["text"] == SENTENCE})
    return {**cases, f"{RESPONSES} where there are none": post(RESPONSES, {"input": "Why?"}, told, "no responses")}


def _messages() -> dict[str, Case]:
    tools = [
        {
            "name": tool["function"]["name"],
            "description": tool["function"]["description"],
            "input_schema": tool["function"]["parameters"],
        }
        for tool in TOOLS
    ]
    bodies: dict[str, dict[str, Any]] = {
        "": {},
        "system": {"system": "Be brief."},
        "max_tokens": {"max_tokens": 3},
        "stop_sequences": {"stop_sequences": [" as"]},
        "tools": {"tools": tools},
        "unknown model": {"model": "nope"},
        "messages a text": {"messages": "Why?"},
    }
    cases: dict[str, Case] = {}
    for name, body in bodies.items():
        asked = {"max_tokens": 40, "messages": QUESTION, **body}
        _both(cases, f"{MESSAGES} {name}".strip(), MESSAGES, asked, "messages")
    cases[f"{MESSAGES} no max_tokens"] = post(MESSAGES, {"messages": QUESTION}, None, "messages")
    body = {"max_tokens": 40, "messages": QUESTION}
    missing = f"{MESSAGES} where there are none"
    told = Has({"content": [{"type": "text", "text": SENTENCE}], "stop_reason": "end_turn"})
    return {
        **cases,
        missing: post(MESSAGES, body, told, "no messages"),
        f"{missing}, streamed": post(MESSAGES, {**body, "stream": True}, Messages(), "no messages"),
    }


CASES: Final = _cases()
