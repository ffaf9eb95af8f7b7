"""Answers out of a journal: as they were sent first, to whoever comes later, again, or back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final

from quart import Response
from werkzeug.datastructures import Headers

from mlops_backend.errors import AppError, StreamBroken, StreamGone
from mlops_backend.middleware.detached import Admitted, length_of
from mlops_backend.middleware.request_context import at_hand, record
from mlops_backend.openapi import SSE
from mlops_backend.services.llm.dialects import Dialect, dialect_of, error_event, error_line
from mlops_backend.services.other.journals import Head, Journals, Page, follow
from mlops_backend.telemetry.record import RequestRecord

# What whoever answers now says itself.
_NOT_KEPT: Final = frozenset({"content-length", "x-request-id", "vary", "date", "connection", "transfer-encoding"})
_CORS: Final = "access-control-"
# What was left of the limits when it was made.
OF_LIMITS: Final = frozenset({"ratelimit", "ratelimit-policy"})


async def kept_answer(journals: Journals, journal: str, admitted: Admitted | None) -> Response:
    """The answer of a journal from its beginning on, which is awaited.

    Args:
        journals: where it is kept.
        journal: its id.
        admitted: of the request at hand, where that had it made.

    Raises:
        AppError: it is not there, or not any more.
    """
    pages = follow(journals, journal)
    try:
        head, page = await _begun(pages)
        failure = partial(_failure, record(), dialect_of(at_hand().path), head)
        response = Response(_chunks(page, pages, failure), head.status)
        if _is_whole(head):
            response = Response(_whole(head, await _rest(page, pages), admitted), head.status)
    except BaseException:
        await pages.aclose()
        raise
    response.timeout = None  # Quart would cut the body after RESPONSE_TIMEOUT
    length = response.headers.get("Content-Length")
    response.headers = kept_headers(head, without=OF_LIMITS if admitted is None else ())
    if length is not None:
        response.headers["Content-Length"] = length
    if admitted is None:
        response.headers["Idempotent-Replayed"] = "true"
    return response


async def _begun(pages: AsyncGenerator[Page, None]) -> tuple[Head, Page]:
    """How the answer begins, as soon as it does.

    Raises:
        StreamBroken: it never did.
    """
    async for page in pages:
        if page.head is not None:
            return page.head, page
    raise StreamBroken("The request that made this answer was cut off before there was any.")


def _whole(head: Head, pieces: Sequence[bytes], admitted: Admitted | None) -> bytes:
    """The body; one that is too long for a journal is there for who had it made.

    Raises:
        StreamGone: and for nobody else.
    """
    if admitted is not None and admitted.large is not None:
        return admitted.large
    if (body := b"".join(pieces)) or not length_of(head.headers):
        return body
    raise StreamGone("The answer is longer than what is kept; the same request again is made anew.")


async def _rest(page: Page, pages: AsyncGenerator[Page, None]) -> list[bytes]:
    """All pieces from a page on."""
    body = list(page.pieces)
    while page.outcome is None:
        page = await anext(pages)
        body += page.pieces
    return body


def kept_headers(head: Head, *, without: Collection[str] = ()) -> Headers:
    """The headers of an answer as it began, without what is of one connection or of one client alone."""
    names = [(name.lower(), name, value) for name, value in head.headers]
    left_out = {*_NOT_KEPT, *without}
    return Headers([(name, value) for key, name, value in names if key not in left_out and not key.startswith(_CORS)])


def _is_whole(head: Head) -> bool:
    return any(name.lower() == "content-length" for name, _ in head.headers)


async def _chunks(
    page: Page, pages: AsyncGenerator[Page, None], failure: Callable[[AppError], bytes]
) -> AsyncGenerator[bytes, None]:
    """Its pieces, as they come; a failure of this side is the last frame."""
    async with aclosing(pages):
        try:
            while True:
                if page.pieces:
                    yield b"".join(page.pieces)
                if page.outcome is not None:
                    return
                page = await anext(pages)
        except AppError as error:
            yield failure(error)


def _failure(noted: RequestRecord, dialect: Dialect, head: Head, error: AppError) -> bytes:
    """The last frame of a stream in the words of its route."""
    noted.outcome, noted.error = "error", error.code
    if any(name.lower() == "content-type" and value.startswith(SSE) for name, value in head.headers):
        return error_event(dialect, error, noted.id)
    return error_line(error, noted.id)
