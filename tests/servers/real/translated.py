"""What is asked in Ollama's words of a server that has others: the service has to answer as Ollama would."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final

from tests.fakes.tiny_transformer import CALL, CONTEXT, WORDS
from tests.servers.real.case import Case, Right, get, post
from tests.servers.real.right import CALLED, MUSING, SENTENCE, Has, Refused, Said
from tests.servers.real.values import PICTURE, PIXEL, QUESTION, SCHEMA, TOOLS

CHAT: Final = "/api/chat"
GENERATE: Final = "/api/generate"
OURS: Final = "/api/llm"
_BEFORE_STOP: Final = SENTENCE[: SENTENCE.index(" as")]
_STOPPED: Final = Said(_BEFORE_STOP, written=0)
_SIX: Final = ["a1", "a2", "a3", "a4", "a5", " as"]
_BRIEF: Final = {"num_predict": 20, "temperature": 0}
_CUT: Final = Said("".join(WORDS[:3]), "length", written=3)
# Each byte of a turn is a token, with the turn's mark.
_READ: Final = len("user: Why?") + 1 + 1
_PAST: Final = len("assistant: Well.") + 1 + len("user: Why?") + 1
_OPTIONS: Final[dict[str, tuple[dict[str, Any], Right]]] = {
    "top_p 0": ({"top_p": 0}, Said()),
    "temperature 2.5": ({"temperature": 2.5}, Said()),
    "6 stops": ({"stop": _SIX}, _STOPPED),
    "6 stops, none met": ({"stop": ["a1", "a2", "a3", "a4", "a5", "a6"]}, Said()),
    "stop": ({"stop": [" as"]}, _STOPPED),
    "stop across tokens": ({"stop": ["s it"]}, Said(SENTENCE[: SENTENCE.index("s it")], written=0)),
    "num_predict 3": ({"num_predict": 3}, _CUT),
    "num_predict -1": ({"num_predict": -1}, Said()),
    "num_predict over the context": ({"num_predict": 100000}, Said()),
    "seed": ({"seed": 7, "temperature": 0}, Said()),
    "seed 0": ({"seed": 0}, Said()),
    "penalties": ({"repeat_penalty": 1.1, "presence_penalty": 0.5, "frequency_penalty": 0.5}, Said()),
    "all at once": (
        {"top_p": 0, "temperature": 2.5, "stop": _SIX, "num_predict": 100000, "num_ctx": 4096, "top_k": 1, "min_p": 0},
        _STOPPED,
    ),
    "of the wrong type": ({"top_p": "x"}, Refused(400, ["top_p"])),
}
_CALL: Final = {"function": {"name": CALL["name"], "arguments": CALL["arguments"]}}
_RESULT: Final = {"role": "tool", "tool_name": CALL["name"], "content": "rain"}
_CHATS: Final[dict[str, tuple[dict[str, Any], Right, str]]] = {
    "": ({}, Said(), "chat"),
    "counted": ({}, Said(read=_READ), "template"),
    "timed": ({}, Said(timed=True), "chat"),
    "logprobs": ({"logprobs": True, "top_logprobs": 2}, Said(scored=True), "logprobs"),
    "think false": ({"think": False}, Said(), "chat"),
    "think true": ({"think": True}, Said(thinking=MUSING, written=0), "thinking"),
    "format json": ({"format": "json", "options": _BRIEF}, Said("{}", written=0), "grammar"),
    "format schema": ({"format": SCHEMA, "options": _BRIEF}, Said('"yes"', written=0), "grammar"),
    "thinking in the history": (
        {"messages": [*QUESTION, {"role": "assistant", "content": "Well.", "thinking": "12345678"}, *QUESTION]},
        Said(read=_READ + _PAST + 8),
        "template+thinking",
    ),
    "no thinking in the history": (
        {"messages": [*QUESTION, {"role": "assistant", "content": "Well."}, *QUESTION]},
        Said(read=_READ + _PAST),
        "template",
    ),
    "tools": ({"tools": TOOLS}, Said("", calls=CALLED, written=0), "tools"),
    "tools, cut": ({"tools": TOOLS, "options": {"num_predict": 2}}, Said(None, "length", written=2), "tools"),
    "tool loop": (
        {"messages": [*QUESTION, {"role": "assistant", "content": "", "tool_calls": [_CALL]}, _RESULT], "tools": TOOLS},
        Said(),
        "chat",
    ),
    "two tools in a loop": (
        {
            "messages": [
                *QUESTION,
                {"role": "assistant", "content": "", "tool_calls": [_CALL, _CALL]},
                _RESULT,
                _RESULT,
                {"role": "assistant", "content": "", "tool_calls": [_CALL]},
                _RESULT,
            ],
            "tools": TOOLS,
        },
        Said(),
        "chat",
    ),
    "result without a call": ({"messages": [*QUESTION, _RESULT]}, Said(), "chat"),
    "image": (
        {"messages": [{"role": "user", "content": "Why?", "images": [PIXEL]}]},
        Refused(400, ["multimodal"]),
        "chat",
    ),
    "image as a data URI": (
        {"messages": [{"role": "user", "content": "Why?", "images": [PICTURE]}]},
        Refused(400, ["byte"]),
        "chat",
    ),
    "unknown model": ({"model": "nope"}, Refused(404, ["nope"]), "chat+names"),
    "longer than the context": (
        {"messages": [{"role": "user", "content": "a" * (CONTEXT + 1)}]},
        Refused(400, ["context"]),
        "chat",
    ),
}
_GENERATIONS: Final[dict[str, tuple[dict[str, Any], Right, str]]] = {
    "": ({}, Said(), "chat"),
    "counted": ({}, Said(read=_READ), "template"),
    "timed": ({}, Said(timed=True), "chat"),
    "system": ({"system": "Be brief."}, Said(read=_READ + len("system: Be brief.") + 1), "template"),
    "raw": ({"raw": True}, Said(), "completions"),
    "raw, timed": ({"raw": True}, Said(timed=True), "completions"),
    "raw, logprobs": ({"raw": True, "logprobs": True}, Said(scored=True), "completions+logprobs"),
    "raw, 6 stops": ({"raw": True, "options": {"stop": _SIX}}, _STOPPED, "completions"),
    "raw, num_predict over the context": ({"raw": True, "options": {"num_predict": 100000}}, Said(), "completions"),
    "raw, format json": (
        {"raw": True, "format": "json", "options": _BRIEF},
        Said("{}", written=0),
        "completions",
    ),
    "think true": ({"think": True}, Said(thinking=MUSING, written=0), "thinking"),
    "format json": ({"format": "json", "options": _BRIEF}, Said("{}", written=0), "grammar"),
    "image": ({"images": [PIXEL]}, Refused(400, ["multimodal"]), "chat"),
    "unknown model": ({"model": "nope"}, Refused(404, ["nope"]), "chat+names"),
}


def _conversing(
    route: str, asked: dict[str, Any], kinds: dict[str, tuple[dict[str, Any], Right, str]]
) -> dict[str, Case]:
    cases = {}
    every = {
        **kinds,
        **{f"options {name}": ({"options": told}, right, "chat") for name, (told, right) in _OPTIONS.items()},
    }
    for name, (extra, right, need) in every.items():
        body = {**asked, **extra}
        cases[f"{route} {name}".strip()] = post(route, {**body, "stream": False}, right, need)
        cases[f"{route} {name}, streamed".replace(" , ", ", ")] = post(route, body, right, need)
    return cases


def _ours() -> dict[str, Case]:
    said = Said()
    return {
        f"{OURS}/chat": post(f"{OURS}/chat", {"messages": QUESTION}, said, "chat"),
        f"{OURS}/chat, streamed": post(f"{OURS}/chat", {"messages": QUESTION, "stream": True}, said, "chat"),
        f"{OURS}/generate": post(f"{OURS}/generate", {"prompt": "Why?"}, said, "chat"),
        f"{OURS}/stream": post(f"{OURS}/stream", {"prompt": "Why?"}, said, "chat"),
        f"{OURS}/generate unknown model": post(
            f"{OURS}/generate", {"model": "nope", "prompt": "Why?"}, Refused(404, ["nope"]), "chat+names"
        ),
        f"{OURS}/generate options all at once": post(
            f"{OURS}/generate", {"prompt": "Why?", "options": _OPTIONS["all at once"][0]}, _STOPPED, "chat"
        ),
        f"{OURS}/models": get(f"{OURS}/models", Has({"models": bool})),
        f"{OURS}/health": get(f"{OURS}/health", Has({"status": lambda told: told != "unhealthy"})),
        f"{OURS}/embed": post(f"{OURS}/embed", {"input": "Why?"}, _vectors(1), "embeddings"),
    }


def _vectors(count: int) -> Right:
    def unit(value: Any) -> bool:
        return len(value) == count and all(math.isclose(math.hypot(*vector), 1, rel_tol=1e-3) for vector in value)

    return Has({"embeddings": unit, "prompt_eval_count": bool, "total_duration": bool})


def _embedding() -> dict[str, Case]:
    route, old = "/api/embed", "/api/embeddings"
    missing = Refused(501, ["/v1/embeddings"], "not_implemented")
    return {
        route: post(route, {"input": "Why?"}, _vectors(1), "embeddings"),
        f"{route} several": post(route, {"input": ["Why?", "How?"]}, _vectors(2), "embeddings"),
        f"{route} nothing": post(route, {"input": ""}, Has({"embeddings": []})),
        f"{route} dimensions": post(
            route, {"input": "Why?", "dimensions": 4}, Has({"embeddings": lambda each: len(each[0]) == 4}), "embeddings"
        ),
        f"{route} unknown model": post(
            route, {"model": "nope", "input": "Why?"}, Refused(404, ["nope"]), "embeddings+names"
        ),
        f"{route} too long": post(
            route, {"input": "a" * 2000, "truncate": False}, Refused(400, ["context"]), "embeddings"
        ),
        f"{route} too long, to be cut": post(route, {"input": "a" * 2000}, _vectors(1), "embeddings"),
        old: post(old, {"prompt": "Why?"}, Has({"embedding": bool}), "embeddings"),
        f"{route} where there are none": post(route, {"input": "Why?"}, missing, "no embeddings"),
        f"{old} where there are none": post(old, {"prompt": "Why?"}, missing, "no embeddings"),
    }


def _reading() -> dict[str, Case]:
    def lists(value: Any) -> bool:
        return len(value) == 1 and bool(value[0]["name"]) and len(value[0]["digest"]) == 64

    def context(value: Any) -> bool:
        return bool(value.get(f"{value['general.architecture']}.context_length") == CONTEXT)

    unknown = post(CHAT, {"model": "nope", "messages": QUESTION, "stream": False})
    asked = post(CHAT, {"messages": QUESTION, "stream": False}, Said(), "chat")
    nothing = {"done": True, "done_reason": "load"}
    missing = Refused(501, ["/v1/chat/completions"], "not_implemented")
    return {
        f"{CHAT} where there is none": post(CHAT, {"messages": QUESTION}, missing, "no chat"),
        f"{GENERATE} where there is none": post(GENERATE, {"prompt": "Why?"}, missing, "no chat"),
        "/api/tags": get("/api/tags", Has({"models": lists}), "list"),
        "/api/ps": get(
            "/api/ps", Has({"models": lambda value: lists(value) and value[0]["context_length"] == CONTEXT}), "context"
        ),
        "/api/show": post("/api/show", {}, Has({"model_info": context}), "context"),
        "/api/show capabilities": post(
            "/api/show",
            {},
            Has({"capabilities": lambda value: "completion" in value and "vision" not in value}),
            "blind",
        ),
        "/api/show unknown model": post("/api/show", {"model": "nope"}, Refused(404, ["nope"])),
        "/api/version": get("/api/version", Has({"version": bool})),
        f"{GENERATE} nothing": post(GENERATE, {}, Has({**nothing, "response": ""}), "chat"),
        f"{CHAT} nothing": post(CHAT, {"messages": []}, Has(nothing), "chat"),
        f"{CHAT} no model": post(CHAT, {"model": "", "messages": QUESTION}, Refused(400, ["model"])),
        f"{CHAT} behind a refusal": replace(asked, before=(unknown,)),
        "/api/pull": post("/api/pull", {}, Refused(403)),
    }


CASES: Final = (
    _conversing(CHAT, {"messages": QUESTION}, _CHATS)
    | _conversing(GENERATE, {"prompt": "Why?"}, _GENERATIONS)
    | _ours()
    | _embedding()
    | _reading()
)
