"""Answers from the response cache, and what is sent for a call that has none: written down for the next one."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from quart import Request, Response, after_this_request, g
from quart.wrappers.response import DataBody, ResponseBody
from werkzeug.datastructures import Headers

from mlops_backend.aside import aside
from mlops_backend.middleware.asgi import Scope
from mlops_backend.middleware.request_context import CACHE, record, said_in, service
from mlops_backend.services.llm import asked as tasks
from mlops_backend.services.llm.asked import Task, read_asked
from mlops_backend.services.llm.ollama_service import OllamaService
from mlops_backend.services.other.response_cache import ROUTES, Entry, Kind, Recording, ResponseCache, read_call
from mlops_backend.telemetry.record import RequestRecord

_HEADER: Final = "X-Cache"
_USE: Final = b"use"
_OK: Final = 200
# A larger body is not read once more for it.
_LARGEST: Final = 1024 * 1024
_PIECE: Final = 64 * 1024
_MAX_AGE: Final = re.compile(r"max-age=\"?(\d{1,9})\"?")
# Headers of an answer that are those of each one like it.
_KEPT: Final = frozenset({"content-type", "cache-control", "vary", "x-accel-buffering", "x-translated"})
# Headers of a request, by how they begin, on which a backend's answer may depend.
_ASKING: Final = ("anthropic-", "openai-")
_OWN: Final = "/api/llm/"
_TASKS: Final[Mapping[Kind, Task]] = {
    Kind.OLLAMA: tasks.GENERATE,
    Kind.EMBEDDINGS: tasks.OPENAI_CALL,
    Kind.OPENAI: tasks.OPENAI_GENERATE,
    Kind.RESPONSES: tasks.RESPONSES,
    Kind.ANTHROPIC: tasks.MESSAGES,
}


@dataclass(slots=True)
class _Miss:
    """A call that is not answered from the cache; without a `name` its answer is not kept either."""

    cache: ResponseCache
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Wish:
    """What `Cache-Control` says of a request (RFC 9111, 5.2.1)."""

    look: bool
    keep: bool
    max_age: float | None


async def answer_kept(cache: ResponseCache, asked: Request, noted: RequestRecord) -> Response | None:
    """The kept answer to the request at hand; where there is none, its own is kept if it may be.

    Called by the `before_request` hook, once it is known who asks. A request that has not asked for it costs a
    look at its headers.

    Args:
        cache: what is kept.
        asked: the request at hand.
        noted: its record.

    Raises:
        Forbidden, LimitExceeded, LimitsUnavailable: what is kept may not be given; see `OllamaService.grant`.
        AppError: the body was refused while it came.
    """
    if not noted.generates or noted.caller is None:
        return None
    said = any([name == CACHE and value.strip().lower() == _USE for name, value in said_in(cast(Scope, asked.scope))])
    if not (said or cache.wants(noted.caller)) or (kind := ROUTES.get(noted.route)) is None:
        return None
    wish = _wish(asked.headers.getlist("Cache-Control"))
    missed = g.cache_miss = _Miss(cache)
    after_this_request(_after)  # type: ignore[arg-type]
    body = cast(bytes, await asked.get_data(cache=False, as_text=False))
    if not (name := await _name(cache, kind, asked, body, noted)):
        return None
    found = await cache.find(name, wish.max_age) if wish.look else None
    if found is not None:
        return await _given(cache, found, kind, body, noted)
    missed.name = name if wish.keep else ""
    return None


def _wish(values: Sequence[str]) -> _Wish:
    told = [part.strip().lower() for value in values for part in value.split(",")]
    keep = "no-store" not in told
    ages = [int(found[1]) for part in told if (found := _MAX_AGE.fullmatch(part))]
    return _Wish(keep and "no-cache" not in told, keep, min(ages, default=None))


async def _name(cache: ResponseCache, kind: Kind, asked: Request, body: bytes, noted: RequestRecord) -> str:
    """The name of what is asked; empty where it has not one answer, or that is told with signs of life between."""
    headers = asked.headers
    if len(body) > _LARGEST or "Content-Encoding" in headers or "X-Progress" in headers:
        return ""
    if asked.mimetype and not asked.is_json:
        return ""
    call = await aside(len(body), read_call, kind, body)
    is_own = noted.route.startswith(_OWN)
    if call is None or not (call.model or is_own) or noted.caller is None:
        return ""
    if not (meaning := service(OllamaService).meaning(call.model)):
        return ""
    told = sorted((name.lower(), value) for name, value in headers if name.lower().startswith(_ASKING))
    framing = headers.get("Accept", "").lower() if is_own else ""
    return cache.name(noted.caller, noted.route, framing, repr(told), meaning, call.text)


async def _given(cache: ResponseCache, entry: Entry, kind: Kind, body: bytes, noted: RequestRecord) -> Response:
    """What is kept, as the answer to the request at hand.

    Raises:
        Forbidden, LimitExceeded, LimitsUnavailable: see `OllamaService.grant`.
    """
    asked = await aside(len(body), read_asked, _TASKS[kind], "POST", noted.route, (), body)
    if asked.end_user:
        noted.name_end_user(asked.end_user)
    await service(OllamaService).grant(asked.models, noted)
    noted.cached, noted.outcome, noted.streams = True, "done", entry.streamed
    noted.model, noted.requested_model = entry.model, entry.requested_model
    headers = [*entry.headers, ("Age", str(int(cache.age(entry))))]
    return _in_pieces(entry.body, headers) if entry.streamed else _whole(entry.body, headers)


def _whole(body: bytes, headers: Sequence[tuple[str, str]]) -> Response:
    response = Response(DataBody(body), _OK)
    response.headers = Headers([*headers, ("Content-Length", str(len(body)))])
    return response


def _in_pieces(body: bytes, headers: Sequence[tuple[str, str]]) -> Response:
    response = Response(_pieces(body), _OK)
    response.headers = Headers(headers)
    response.timeout = None  # a client that takes nothing is seen by `connections/`
    return response


async def _pieces(body: bytes) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]


async def _after(response: Response) -> Response:
    """Say in the answer what the cache had to do with it, and have it written down where it is to be kept."""
    noted = record()
    if noted.cached:
        response.headers[_HEADER] = "hit"
        return response
    missed: _Miss = g.cache_miss
    if response.status_code != _OK:
        return response
    response.headers[_HEADER] = "miss" if missed.name else "bypass"
    if not missed.name:
        return response
    headers = [(name, value) for name, value in response.headers if name.lower() in _KEPT]
    body: Any = response.response
    if isinstance(body, DataBody):
        await _keep(missed, body.data, headers, noted, streamed=False)
        return response
    noted.straight = None  # what goes the short way is not seen here
    response.response = _Recorded(body, missed, headers, noted)
    return response


class _Recorded(ResponseBody):
    """The pieces of a stream, which are written down as they pass; kept if all came, and none told of a failure."""

    def __init__(self, body: Any, missed: _Miss, headers: Sequence[tuple[str, str]], noted: RequestRecord) -> None:
        self._body, self._missed, self._headers, self._noted = body, missed, headers, noted
        self._recording = Recording(missed.cache)

    async def __aenter__(self) -> _Recorded:
        self._pieces = aiter(await self._body.__aenter__())
        return self

    async def __aexit__(self, *why: Any) -> None:
        try:
            await self._body.__aexit__(*why)
        finally:
            self._recording.let_go()

    def __aiter__(self) -> _Recorded:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            if (text := self._recording.text) is not None:
                await _keep(self._missed, text, self._headers, self._noted, streamed=True)
            raise
        self._recording.take(piece)
        return cast(bytes, piece)


async def _keep(
    missed: _Miss, body: bytes, headers: Sequence[tuple[str, str]], noted: RequestRecord, *, streamed: bool
) -> None:
    """Keep an answer that is whole: not one that failed, nor one that limits have cut."""
    if noted.outcome != "done" or noted.error or noted.shortened:
        return
    named = {"model": noted.model, "requested_model": noted.requested_model}
    await missed.cache.keep(missed.name, body, headers, streamed=streamed, **named)
