"""Streams that belong to whoever asked, not to the connection on which they began."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final, cast

import msgspec
from quart import Blueprint, Response, g, request
from quart.typing import ResponseReturnValue
from quart_schema import document_headers, document_querystring, document_response, tag, validate_request
from werkzeug.exceptions import MethodNotAllowed

from mlops_backend.errors import AppError, BadRequest, Forbidden, NotFound
from mlops_backend.middleware.detached import Admitted
from mlops_backend.middleware.idempotency import About, respond_async, shown
from mlops_backend.middleware.kept_answers import OF_LIMITS, kept_answer, kept_headers
from mlops_backend.middleware.no_content import no_content
from mlops_backend.middleware.request_context import record, service
from mlops_backend.middleware.stream_answer import wanted
from mlops_backend.openapi import NDJSON, SSE, document_asking, document_media_types, document_open
from mlops_backend.principal import Scope
from mlops_backend.schemas.generations import EndedResponse
from mlops_backend.schemas.llm import (
    GenerateResponse,
    ReadStreamHeaders,
    ReadStreamQuery,
    StreamRequest,
    StreamResponse,
    StreamsResponse,
)
from mlops_backend.services.llm.dialects import error_line, events
from mlops_backend.services.llm.generation import Running
from mlops_backend.services.other.journals import Journals, Listed, Opening, Page, follow
from mlops_backend.services.other.keys import KeyCache
from mlops_backend.telemetry.record import RequestRecord

blueprint = Blueprint("streams", __name__, url_prefix="/api/llm")

# How long the status of an answer is waited for, before a stream says that it is under way.
_HEAD: Final = 10.0
# Seconds between two signs that the connection lives.
_SIGNS: Final = 15.0
# A browser that lost its connection is back in half a second: it would wait for three, by itself.
_AGAIN: Final = b"retry: 500\n\n"
_REFUSED: Final = 400
_NUMBER: Final = 15
# What its reader is told otherwise, or not at all.
_OF_OTHERS: Final = frozenset({"content-type", "cache-control", "x-accel-buffering"}) | OF_LIMITS


@blueprint.post("/streams")
@tag(["llm"])
@document_asking
@document_response(StreamResponse, 201)
@validate_request(StreamRequest)
async def create_stream(data: StreamRequest) -> ResponseReturnValue:
    """Begin a stream that outlives its connection.

    Takes a body of `/stream`, or one of `/chat` (with `messages`). The generation begins at once and belongs to the
    key, not to a connection; the answer's `url` needs no key, so that a browser's plain `EventSource` can read it, any
    number of times. What is refused before a backend is asked is refused here; what a backend refuses, by its `url`.
    With an `Idempotency-Key` the same request sent again is told of the same stream.
    """
    if data.operation == "generate":
        return await respond_async("/api/llm/stream", await _body(), 201)
    return await respond_async("/api/llm/chat", _streamed(await _body()), 201)


@blueprint.get("/streams")
@tag(["llm"])
@document_response(StreamsResponse, 200)
async def list_streams() -> dict[str, Any]:
    """List one's own streams.

    Those that run, and those that have ended and are kept still, the oldest first: a page that was loaded again finds
    what it read by the `conversation_id`.
    """
    found = await service(Journals).listed(g.principal.id)  # type: ignore[type-abstract]
    streams = [_listed(each) for each in found if each.opening.about]
    return {"streams": streams, "count": len(streams)}


@blueprint.get("/streams/<stream_id>")
@tag(["llm"])
@document_asking
@document_open
@document_querystring(ReadStreamQuery)
@document_headers(ReadStreamHeaders)
@document_media_types(200, SSE, NDJSON)
@document_response(GenerateResponse, 200)
@document_media_types(204)
async def read_stream(stream_id: str) -> Response:
    """Read a stream, from its beginning or from where one was.

    Server-sent events, or one JSON object a line when `Accept` names `application/x-ndjson`. Each has a number, from 1
    on, which an event tells as its `id`. Those behind `Last-Event-ID`, or behind `after`, are sent, then each as it
    comes. Where nothing is left to be sent it is 204, which tells `EventSource` to stop. What the backend refused is
    answered with its status. 410: a part that was asked for is not kept any more. A stream that nobody reads for
    `STREAM_GRACE` seconds is cancelled; one that has ended is kept for `STREAM_TTL`. 403 when the key that began it may
    not ask any more.
    """
    if request.method != "GET":
        raise MethodNotAllowed(valid_methods=["GET", "DELETE", "OPTIONS"])
    journals = service(Journals)  # type: ignore[type-abstract]
    after = _after()
    _check_owner(await journals.opening(stream_id))
    pages = follow(journals, stream_id, after)
    page = await _first(pages)
    if page.outcome is not None and not page.pieces and after:
        await pages.aclose()
        return no_content({"Cache-Control": "no-store"})
    if page.head is not None and page.head.status >= _REFUSED:
        await pages.aclose()
        return await kept_answer(journals, stream_id, Admitted())
    media_type = wanted(SSE)
    response = Response(_sent(page, pages, media_type, record()), 200, content_type=media_type)
    if page.head is not None:
        response.headers.extend(kept_headers(page.head, without=_OF_OTHERS))
    response.headers.update({"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Vary": "Accept"})
    response.timeout = None  # Quart would cut the body after RESPONSE_TIMEOUT
    return response


@blueprint.delete("/streams/<stream_id>")
@tag(["llm"])
@document_response(EndedResponse, 200)
async def delete_stream(stream_id: str) -> dict[str, Any]:
    """Cancel a stream, or forget one that has ended.

    For the key that began it, and for the administrator. Its readers get the error `generation_cancelled`, or find it
    gone.
    """
    journals = service(Journals)  # type: ignore[type-abstract]
    opening = await journals.opening(stream_id)
    if not (g.principal.admin or opening.owner == g.principal.id):
        raise NotFound("There is no such stream, or its time has passed.")
    record().target = opening.request_id
    ended = await service(Running).end(opening.request_id, opening.owner)
    if not ended:
        await journals.forget(stream_id)
    return {"ended": ended}


async def _body() -> bytes:
    return cast(bytes, await request.get_data(as_text=False))


def _streamed(body: bytes) -> bytes:
    """The same, asked for as a stream: of several members of a name the last one counts."""
    return body.rstrip().removesuffix(b"}") + b',"stream":true}'


def _check_owner(opening: Opening) -> None:
    """Note whose it is.

    Raises:
        NotFound: it is an answer that has no address.
        Forbidden: its key may not ask any more.
    """
    if not opening.about:
        raise NotFound("There is no such stream, or its time has passed.")
    about = msgspec.msgpack.decode(opening.about, type=About)
    noted = record()
    noted.caller, noted.end_user = about.principal, about.end_user
    owner = service(KeyCache).current(about.principal)
    if owner is None or not owner.has(Scope.INFERENCE):
        raise Forbidden("The key that this stream was begun with may not ask any more.")


def _after() -> int:
    """Behind which event a reader goes on; what its browser says of that comes first.

    Raises:
        BadRequest: it is no number.
    """
    for name, told in (("Last-Event-ID", request.headers.get("Last-Event-ID")), ("after", request.args.get("after"))):
        if told:
            if not (told.isascii() and told.isdecimal() and len(told) <= _NUMBER):
                raise BadRequest(f"{name} must be the number of an event.")
            return int(told)
    return 0


async def _first(pages: AsyncGenerator[Page, None]) -> Page:
    """What there is, once the answer has begun, or has taken long to."""
    try:
        until = monotonic() + _HEAD
        page = await anext(pages)
        while page.head is None and page.outcome is None and monotonic() < until:
            page = await anext(pages)
        while page.head is not None and page.head.status >= _REFUSED and page.outcome is None:
            page = await anext(pages)
    except BaseException:
        await pages.aclose()
        raise
    return page


async def _sent(
    page: Page, pages: AsyncGenerator[Page, None], media_type: str, noted: RequestRecord
) -> AsyncGenerator[bytes, None]:
    """The pieces as lines or events, each as it comes; a failure of this side is the last of them, without a number."""
    as_events = media_type == SSE
    quiet_since = monotonic()
    async with aclosing(pages):
        try:
            if as_events:
                yield _AGAIN
            while True:
                if page.pieces:
                    yield _events(page) if as_events else b"".join(map(_line, page.pieces))
                    quiet_since = monotonic()
                elif as_events and monotonic() - quiet_since > _SIGNS:
                    yield b": the answer is still to come\n\n"
                    quiet_since = monotonic()
                if page.outcome is not None:
                    return
                page = await anext(pages)
        except AppError as error:
            noted.outcome, noted.error = "error", error.code
            line = error_line(error, noted.id)
            yield events(line) if as_events else line


def _events(page: Page) -> bytes:
    return b"".join(b"id: %d\n%b" % (number, events(piece)) for number, piece in enumerate(page.pieces, page.first))


def _line(piece: bytes) -> bytes:
    return piece if piece.endswith(b"\n") else piece + b"\n"


def _listed(each: Listed) -> Mapping[str, Any]:
    about = msgspec.msgpack.decode(each.opening.about, type=About)
    at = datetime.fromtimestamp(each.opening.at, UTC).isoformat(timespec="milliseconds")
    told = {"route": about.path, "conversation_id": about.conversation_id, "started_at": at}
    return {**shown(each.opening), **told, "events": each.pieces, "outcome": each.outcome}
