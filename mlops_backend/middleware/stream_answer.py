"""Streams of our own API as answers: one object a line, or one event each, as `Accept` wants them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Final

from quart import Response, request

from mlops_backend.middleware.asgi import STRAIGHT
from mlops_backend.middleware.request_context import record
from mlops_backend.openapi import NDJSON, SSE
from mlops_backend.services.llm.dialects import as_events, events
from mlops_backend.telemetry.record import Straight

_HEADERS: Final = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no", "Vary": "Accept"}


class _AsEvents:
    """Sends lines straight to a client that wants events."""

    def __init__(self, straight: Straight) -> None:
        self.may_send = straight.may_send
        self._send = straight.send

    def send(self, piece: bytes) -> bool:
        """Send whole lines; see `Straight`."""
        return self._send(made) if (made := events(piece)) else True


def stream_answer(
    lines: AsyncGenerator[bytes, None],
    *,
    default: str,
    headers: Mapping[str, str] | None = None,
    as_they_are: bool = False,
    through: Callable[[Straight], Straight] | None = None,
) -> Response:
    """The answer that streams `lines`; of `default` media type unless `Accept` names the other one outright.

    `as_they_are` says that nobody but the client needs to see the lines of the generation; else `through` is for who
    does: it makes of a straight way to the client one that lets them see.
    """
    media_type = wanted(default)
    straight = STRAIGHT.get()
    if straight is not None and (as_they_are or through is not None):
        way = _AsEvents(straight) if media_type == SSE else straight
        record().straight = way if through is None else through(way)
    chunks = as_events(lines) if media_type == SSE else lines
    response = Response(chunks, content_type=media_type, headers={**(headers or {}), **_HEADERS})
    response.timeout = None  # Quart would cut the body after RESPONSE_TIMEOUT
    return response


def wanted(default: str) -> str:
    """The media type that `Accept` names outright; a wildcard leaves the default."""
    accept = request.headers.get("Accept", "").lower()
    other = SSE if default == NDJSON else NDJSON
    return other if other in accept and default not in accept else default
