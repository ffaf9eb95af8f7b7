"""Whole answers, and heads of streams, past h11: framed at once, in one step of its state.

h11 makes and checks an event for each part of an answer, 150 calls of functions for a short one. What is framed here
is what h11 would make of it; anything out of the ordinary is left to it. This module alone leans on names that are
private to h11 0.16; `tests/unit/connections/test_whole.py` holds them against the pinned version, byte by byte.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import h11
from h11._writers import ChunkedWriter

Headers = Sequence[tuple[bytes, bytes]]

# All of the request is here, nothing of the answer has left, and the connection goes on behind it.
_TO_BE_ANSWERED: Final = {h11.CLIENT: h11.DONE, h11.SERVER: h11.SEND_RESPONSE}
_WITHOUT_BODY: Final = frozenset({204, 304})
# What h11 allows in a header, names in lower case; a value neither begins nor ends with a blank (RFC 9110, 5.5).
_LINES: Final = re.compile(
    rb"(?:[-!#$%&'*+.^_`|~0-9a-z]+: (?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?\r\n)*"
)
_LENGTH: Final = b"content-length"
_FRAMING: Final = frozenset({b"transfer-encoding", b"connection"})


class WholeAnswers(h11.Connection):
    """A connection's state that can be told of a whole answer."""

    def frame(self, status: int, headers: Headers, body: bytes) -> bytes | None:
        """Head and body as they go to the client, which counts as sent then.

        Returns:
            `None` where h11 has to frame it, event by event; nothing has happened then.
        """
        if not self._may_frame(status) or not _has_length(headers, len(body)):
            return None
        if (head := _head(status, headers)) is None:
            return None
        self._cstate.states[h11.SERVER] = h11.DONE
        self._writer = None
        return b"%b\r\n%b" % (head, body)

    def frame_head(self, status: int, headers: Headers) -> bytes | None:
        """The head of an answer whose body comes in chunks, which counts as sent then; `None` as of `frame`."""
        if not self._may_frame(status) or any([name in _FRAMING or name == _LENGTH for name, _ in headers]):
            return None
        if (head := _head(status, headers)) is None:
            return None
        self._cstate.states[h11.SERVER] = h11.SEND_BODY
        self._writer = ChunkedWriter()
        return head + b"Transfer-Encoding: chunked\r\n\r\n"

    def _may_frame(self, status: int) -> bool:
        ordinary = self._cstate.states == _TO_BE_ANSWERED and self._request_method != b"HEAD"
        return ordinary and status >= 200 and status not in _WITHOUT_BODY


def with_whole_answers(connection: h11.Connection) -> WholeAnswers:
    """A fresh connection of h11's as one of these; a second one for each client would cost as much as a request."""
    connection.__class__ = WholeAnswers
    assert isinstance(connection, WholeAnswers)  # noqa: S101 - it has just become one
    return connection


def _has_length(headers: Headers, length: int) -> bool:
    """Whether one length, which is right, is all that is said of the body's framing."""
    told = [value for name, value in headers if name == _LENGTH]
    return told == [b"%d" % length] and not any([name in _FRAMING for name, _ in headers])


def _head(status: int, headers: Headers) -> bytes | None:
    """The lines of a head, without the last; `None` where a header is two, or none."""
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    if lines.count(b"\n") != len(headers) or _LINES.fullmatch(lines) is None:
        return None
    return b"HTTP/1.1 %d \r\n%b" % (status, lines)
