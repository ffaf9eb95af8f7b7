"""Server-sent events as our own API offers them: each NDJSON line becomes one event."""

from __future__ import annotations

from collections.abc import AsyncGenerator


def events(lines: bytes) -> bytes:
    r"""Whole NDJSON lines as events; a line that tells an error becomes `event: error`.

    A carriage return can only be white space between JSON tokens, and would end an event's line: it is dropped.
    """
    return b"".join(_event(line) for line in lines.replace(b"\r", b"").split(b"\n") if line)


async def as_events(stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The events of an NDJSON stream; closes it."""
    try:
        async for lines in stream:
            yield events(lines)
    finally:
        await stream.aclose()


def _event(line: bytes) -> bytes:
    if line.startswith(b'{"error"'):
        return b"event: error\ndata: " + line + b"\n\n"
    return b"data: " + line + b"\n\n"
