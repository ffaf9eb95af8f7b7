"""Statuses: what a backend's refusal or failure becomes, with its own words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json

from mlops_backend.errors import (
    AppError,
    BackendBusy,
    BackendFailed,
    BackendNonsense,
    BackendRejected,
    NotImplementedHere,
)
from mlops_backend.services.llm.dialects import ollama
from mlops_backend.services.llm.upstream import Reply

# How FastAPI, Go and llama.cpp's server call a path that they do not know; a model that is not there has more words.
# Rust's axum has none, Express and LM Studio name the path, and so does OpenAI itself.
_NO_ROUTE: Final = re.compile(
    r"(?i)((404 )?(page |file )?not found|method not allowed"
    r"|(cannot|unexpected endpoint or method|invalid url)\b.{0,9}\b(get|post) /.*)?"
)
_MISSING: Final = (404, 405)
_UNCLEAR: Final = 400
# How servers that answer 400 say that they have no such model: llama.cpp's router, LiteLLM's proxy, Mistral.
_NO_MODEL: Final = re.compile(r"(?i)^model ['\"`]?[^'\"`]*['\"`]? not found|\binvalid model name\b|^invalid model: ")
_INVISIBLE: Final = re.compile(r"(?is)<(script|style|head)\b.*?</\1>|<[^>]*>")
_SPACE: Final = re.compile(r"\s+")
_LOOKED_AT: Final = 16 * 1024
_LONGEST: Final = 500


class NoList(BackendFailed):
    """A server is there, and has no list of its models."""


class ListFails(NoList):
    """A server is there, and fails to tell its models."""


def raise_for_status(reply: Reply, path: str = "") -> None:
    """Turn a backend's own error into one of ours.

    Args:
        reply: what it answered.
        path: the route that was asked, where a backend may lack it.

    Raises:
        NotImplementedHere: it has no such route, or says that it does not do this.
        BackendRejected: a 4xx; the status is kept, and with 429 its `Retry-After`.
        BackendBusy: a 503, with its `Retry-After`.
        BackendFailed: another 5xx.
        BackendNonsense: a status that is no answer (1xx, 3xx).
    """
    if reply.status != 200:
        raise _refusal(reply, path)


def is_missing_route(status: int, body: bytes) -> bool:
    """Whether a backend's refusal says that it has no such route, and not that it has no such model."""
    return status in _MISSING and _NO_ROUTE.fullmatch(words_of(body).strip(" .")) is not None


def lacks_model(status: int, body: bytes) -> bool:
    """Whether a backend's 400 says that it has no such model: with others that is a 404, as with Ollama."""
    return status == _UNCLEAR and _NO_MODEL.search(words_of(body)) is not None


def words_of(body: bytes) -> str:
    """The sentence of an error: of an object, of plain text, or of a page; empty where there is none."""
    with_object = _object(body)
    if with_object is not None:
        return ollama.error_text(with_object)
    text = body[:_LOOKED_AT].decode(errors="replace")
    return _SPACE.sub(" ", _INVISIBLE.sub(" ", text)).strip()[:_LONGEST]


def _refusal(reply: Reply, path: str) -> AppError:
    if reply.status in (401, 407):
        return BackendFailed("The backend refuses this service's credentials.")
    if path and is_missing_route(reply.status, reply.body):
        return NotImplementedHere(f"This backend has no route {path}.")
    words = words_of(reply.body) or f"The backend answered with status {reply.status} and no readable reason."
    wait = {"Retry-After": reply.retry_after} if reply.retry_after else {}
    if 400 <= reply.status < 500:
        status = 404 if lacks_model(reply.status, reply.body) else reply.status
        return BackendRejected(status, words, headers=wait)
    if reply.status == 503:
        return BackendBusy(words, headers=wait)
    if reply.status == 501:
        return NotImplementedHere(words)
    if reply.status >= 500:
        return BackendFailed(words)
    return BackendNonsense(f"The backend answered with status {reply.status}.")


def _object(body: bytes) -> Mapping[str, Any] | None:
    try:
        value = from_json(body)
    except ValueError:
        return None
    return value if isinstance(value, Mapping) else None
