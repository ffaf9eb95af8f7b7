"""Streams of our own API as answers: one object a line, or one event each, as `Accept` wants them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Final

from quart import Response, request

from mlops_backend.openapi import NDJSON, SSE
from mlops_backend.services.llm.dialects import as_events

_HEADERS: Final = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no", "Vary": "Accept"}


def stream_answer(
    lines: AsyncGenerator[bytes, None], *, default: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer that streams `lines`; of `default` media type unless `Accept` names the other one outright."""
    media_type = _wanted(default)
    chunks = as_events(lines) if media_type == SSE else lines
    response = Response(chunks, content_type=media_type, headers={**(headers or {}), **_HEADERS})
    response.timeout = None  # Quart would cut the body after RESPONSE_TIMEOUT
    return response


def _wanted(default: str) -> str:
    """The media type that `Accept` names outright; a wildcard leaves the default."""
    accept = request.headers.get("Accept", "").lower()
    other = SSE if default == NDJSON else NDJSON
    return other if other in accept and default not in accept else default
