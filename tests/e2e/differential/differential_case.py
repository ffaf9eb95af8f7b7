"""One case of the differential test, and short ways to write it down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.e2e.tiny_ollama import MODEL
from tests.e2e.wire import Headers, Request
from tests.service import ADMIN_KEY, ORDINARY_KEY

Json = Mapping[str, Any]

BRIEF: Final = {"temperature": 0, "seed": 1, "num_predict": 3}
JSON_TYPE: Final = (("Content-Type", "application/json"),)


@dataclass(frozen=True)
class Case:
    """What is asked of Ollama, and of the service before it.

    Attributes:
        request: the bytes that are sent to both.
        key: what the service is asked with; nothing is no key.
        before: requests to Ollama alone that put it, before each of the two, into the same state.
        forgets: a blob that Ollama must not have, before each of the two.
    """

    request: Request
    key: str = ORDINARY_KEY
    before: tuple[Request, ...] = ()
    forgets: str = ""


def request(method: str, target: str, value: Json | bytes | None = None, headers: Headers = JSON_TYPE) -> Request:
    """A request whose body is JSON, or these bytes."""
    body = json.dumps(value).encode() if isinstance(value, Mapping) else value
    return Request(method, target, headers if body is not None else (), body)


def post(target: str, value: Json | bytes | None, headers: Headers = JSON_TYPE) -> Case:
    """Something that any key may ask for."""
    return Case(request("POST", target, value, headers))


def get(target: str, method: str = "GET") -> Case:
    """Something without a body that any key may ask for."""
    return Case(request(method, target))


def manage(target: str, value: Json | bytes | None, *before: Request, method: str = "POST") -> Case:
    """Something that only the administrator's key may ask for."""
    return Case(request(method, target, value), key=ADMIN_KEY, before=before)


def generate(**fields: Any) -> Case:
    """Three words, not streamed."""
    return post("/api/generate", {"model": MODEL, "prompt": "Why?", "stream": False, "options": BRIEF, **fields})


def chat(**fields: Any) -> Case:
    """Three words of a conversation, not streamed."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Why?"}], "stream": False, "options": BRIEF}
    return post("/api/chat", {**body, **fields})


def option(**options: Any) -> Case:
    """Three words with a sampling option, or one of the runner's."""
    return generate(options={**BRIEF, **options})


def embed(**fields: Any) -> Case:
    """The vectors of something."""
    return post("/api/embed", {"model": MODEL, **fields})
