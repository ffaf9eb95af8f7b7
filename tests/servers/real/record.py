"""Write down what a real server answers: `python -m tests.servers.real.record vllm_0_32_0`."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tests.e2e.wire import Answer, exchange
from tests.servers.real.asking import at
from tests.servers.real.case import Case, get, post
from tests.servers.real.every import (
    INFINITY,
    LITSERVE,
    LLAMA_CPP,
    LLAMA_CPP_PYTHON,
    LLAMA_CPP_ROUTER,
    SMG,
    TRANSFORMERS,
    VLLM,
    VLLM_EMBEDDING,
    VLLM_ROUTER,
)
from tests.servers.real.killing import ASKED, Ended, endless, killed
from tests.servers.real.kinds import Server
from tests.servers.real.starting import Missing, Running, interpreter, started
from tests.servers.real.values import PICTURE, QUESTION, TOOLS
from tests.servers.replies import FOLDER, kind_of, plain_kind

FILES: Final[Mapping[str, Server]] = {
    "vllm_0_32_0": VLLM,
    "vllm_0_32_0_embedding": VLLM_EMBEDDING,
    "transformers_5_19_0": TRANSFORMERS,
    "llama_cpp_b11549": LLAMA_CPP,
    "llama_cpp_python_0_3_36": LLAMA_CPP_PYTHON,
    "llama_cpp_router_b11669": LLAMA_CPP_ROUTER,
    "litserve_0_2_19": LITSERVE,
    "infinity_0_0_78": INFINITY,
    "vllm_router_0_1_17": VLLM_ROUTER,
    "smg_1_13_0": SMG,
}
_CHAT: Final = "/v1/chat/completions"
_TEXT: Final = "/v1/completions"
_USAGE: Final = {"stream_options": {"include_usage": True}}
_ASKED: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"tools": TOOLS},
    {"tools": TOOLS, "max_tokens": 2},
    {"chat_template_kwargs": {"enable_thinking": True}},
    {"logprobs": True, "top_logprobs": 1, "max_tokens": 2},
    {"model": "nope"},
    {"top_p": 0},
    {"temperature": 2.5},
    {"stop": ["a1", "a2", "a3", "a4", "a5", " as"]},
    {"max_tokens": 100000},
    {"repetition_penalty": 1.1},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PICTURE}}]}]},
)


def cases() -> Iterator[Case]:
    """What is asked; the list comes last, for a router loads a model when it is asked for one."""
    for extra in _ASKED:
        for form in ({}, {"stream": True}, {"stream": True, **_USAGE}):
            yield post(_CHAT, {"messages": QUESTION, **extra, **form})
    for form in ({}, {"stream": True}, {"stream": True, **_USAGE}):
        yield post(_TEXT, {"prompt": "Why?", **form})
    yield post("/v1/embeddings", {"input": ["Why?"], "encoding_format": "float"})
    for stream in ({}, {"stream": True}):
        yield post("/v1/messages", {"max_tokens": 40, "messages": QUESTION, **stream})
        yield post("/v1/responses", {"input": "Why?", "store": False, **stream})
    yield get("/v1/models")


def asked_of(server: Server) -> Iterator[Case]:
    """What is asked of a server where it has its routes; of one that has them elsewhere, or no list, also there."""
    for case in cases():
        yield replace(case, request=at(server, case.request))
    for form in ({}, _USAGE) if server.breaks else ():
        yield post(_CHAT, ASKED | form)
    if server.root or server.words:
        yield get("/v1/models")
        yield get("/models")
        yield post("/v1/embeddings", {"input": "Why?"})


async def recorded(server: Server, url: str, model: str) -> dict[str, Any]:
    """The answers, by the kind of request."""
    replies = {}
    for case in asked_of(server):
        request = case.asked_of(model)
        kind = kind_of(request.method, request.target, json.loads(request.body or b"{}"), model)
        answer = await exchange(url, request)
        # What an option changes nothing about is told once.
        if answer.status != 200 or plain_kind(kind) == kind or not kind.startswith(_CHAT):
            replies[kind] = _told(answer, model)
    return replies


def _told(answer: Answer, model: str) -> dict[str, Any]:
    body = answer.body.decode().replace(model, "tiny/model") if model.startswith("/") else answer.body.decode()
    return {"status": answer.status, "type": answer.header("content-type"), "body": body.splitlines(keepends=True)}


async def recorded_killed(server: Server) -> dict[str, Any]:
    """How a router ends a stream whose worker is killed; a cut is no answer."""
    replies = {}
    for form in ({}, _USAGE):
        with tempfile.TemporaryDirectory() as home, endless(server, Path(home)) as router:
            assert isinstance(router, Running), router.why
            ended = await killed(router, router.url, _CHAT, ASKED | form)
            asked = {"model": router.model, **ASKED, **form}
        if not ended.cut:
            replies[kind_of("POST", _CHAT, asked, router.model)] = _told(_shortened(ended), "")
    return replies


def _shortened(ended: Ended) -> Answer:
    """The first pieces of the text, and what came after the last one."""
    events = ended.body.decode().split("\n\n")
    last = max(place for place, event in enumerate(events) if '"choices"' in event)
    return Answer(200, [("content-type", ended.kind)], "\n\n".join([*events[:3], *events[last + 1 :]]).encode())


def main(name: str) -> None:
    """Start the server, ask, write the file."""
    kind = FILES[name]
    python = interpreter(kind)
    if isinstance(python, Missing):
        sys.exit(python.why)
    with tempfile.TemporaryDirectory() as home, started(kind, python, Path(home)) as running:
        model = running.model
        replies = asyncio.run(recorded(kind, running.url, model))
    if kind.worker:
        replies |= asyncio.run(recorded_killed(kind))
    served = "tiny/model" if model.startswith("/") else model
    again = f"python -m tests.servers.real.record {name}"
    content = {"server": kind.name, "again": again, "model": served, "replies": replies}
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
