"""Clients: each asks for a generation in one of the dialects, and says how that ended."""

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import httpx

from chaos.real import TOKENS
from tests.e2e.real_ollama import MODEL as REAL_MODEL

# Of a hundred clients so many leave before their answer is there.
LEAVING = 0.05
LONGEST = 60.0


class Ending(Enum):
    """How a generation ended, as its client saw it."""

    WHOLE = "whole"
    ERROR = "error"
    GONE = "client gone"
    CUT = "cut, and seen"
    SILENT = "cut silently"
    NEVER = "never ended"
    UNREACHED = "not accepted"


@dataclass(frozen=True)
class Kind:
    """A way to ask: a route, its body without the prompt, and what a whole answer has in it."""

    path: str
    body: Mapping[str, Any]
    is_chat: bool
    end: bytes


MODEL = {"model": "llama3"}
STREAM = {**MODEL, "stream": True}
KINDS = {
    "own stream": Kind("/api/llm/stream", MODEL, False, b'"done":true'),
    "own whole": Kind("/api/llm/generate", MODEL, False, b'"done":true'),
    "ollama generate": Kind("/api/generate", STREAM, False, b'"done":true'),
    "ollama chat": Kind("/api/chat", STREAM, True, b'"done":true'),
    "ollama whole": Kind("/api/chat", {**MODEL, "stream": False}, True, b'"done":true'),
    "openai stream": Kind("/v1/chat/completions", STREAM, True, b"data: [DONE]"),
    "openai whole": Kind("/v1/chat/completions", MODEL, True, b'"finish_reason":"'),
    "anthropic stream": Kind("/v1/messages", {**STREAM, "max_tokens": 64}, True, b"event: message_stop"),
}


def _of_real(kind: Kind) -> Kind:
    """The same way to ask the real backend's model, for a few tokens."""
    most = {"max_tokens": TOKENS} if kind.path.startswith("/v1/") else {"options": {"num_predict": TOKENS}}
    return replace(kind, body={**kind.body, **most, "model": REAL_MODEL})


# Not by the service's own routes: they give the name of a request to no backend, and a real one would not know it.
REAL_KINDS = {f"real {name}": _of_real(kind) for name, kind in KINDS.items() if not kind.path.startswith("/api/llm/")}


@dataclass
class Asked:
    """One request and its end; `had_byte` says whether anything of an answer had come, `said` what an error said."""

    name: str
    kind: str
    ending: Ending = Ending.NEVER
    status: int = 0
    had_byte: bool = False
    said: str = ""


async def ask(client: httpx.AsyncClient, name: str, dice: random.Random, *, real: bool = False) -> Asked:
    """Ask once; the name is the request's id, and stands in its prompt."""
    kinds = REAL_KINDS if real else KINDS
    asked = Asked(name, dice.choice(sorted(kinds)))
    patience = dice.uniform(0, 0.3) if dice.random() < LEAVING else LONGEST
    try:
        async with asyncio.timeout(patience):
            await _asked(client, kinds[asked.kind], asked, dice.random() < 0.2)
    except TimeoutError:
        asked.ending = Ending.GONE if patience < LONGEST else Ending.NEVER
    except httpx.ConnectError as error:
        asked.ending, asked.said = Ending.UNREACHED, repr(error)
    except httpx.TransportError as error:
        asked.ending, asked.said = Ending.CUT, repr(error)
    return asked


async def _asked(client: httpx.AsyncClient, kind: Kind, asked: Asked, is_batch: bool) -> None:
    said = f"{asked.name} is my name"
    prompt = {"messages": [{"role": "user", "content": said}]} if kind.is_chat else {"prompt": said}
    headers = {"X-Request-ID": asked.name, **({"X-Priority": "batch"} if is_batch else {})}
    async with client.stream("POST", kind.path, json={**kind.body, **prompt}, headers=headers) as answer:
        asked.status = answer.status_code
        body = b""
        async for piece in answer.aiter_raw():
            asked.had_byte = asked.had_byte or answer.status_code == 200
            body += piece
    asked.ending = _ending(kind, answer.status_code, body)
    if asked.ending is Ending.ERROR:
        asked.said = body[-200:].decode(errors="replace")


def _ending(kind: Kind, status: int, body: bytes) -> Ending:
    if status != 200:
        return Ending.ERROR if _is_error(body) else Ending.SILENT
    if kind.end in body.replace(b": ", b":") or kind.end in body:
        return Ending.WHOLE
    return Ending.ERROR if b'"error"' in body else Ending.SILENT


def _is_error(body: bytes) -> bool:
    """Whether it is JSON that says what is wrong; a proxy's page before a backend may be anything."""
    try:
        return "error" in json.loads(body)
    except ValueError:
        return bool(body)
