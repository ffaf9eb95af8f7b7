"""A reply as it passes to its client: what was sent of it, and the last object, which is held until it is kept."""

from __future__ import annotations

import re
from typing import Final

from mlops_backend.services.other.conversations.reply_text import ReplyText
from mlops_backend.telemetry.record import RequestRecord, Straight

# In a text the quotes would stand behind a backslash; a false find only keeps a chunk until the next one.
_LAST: Final = re.compile(rb'"done"\s*:\s*true|"error"\s*:')


class Passing:
    """What has passed, whichever way it went.

    Lines go the ordinary way, or straight to the client. The last of them does not: it is held, and is told then where
    the reply is kept.

    Args:
        record: counts the bytes that are sent.
    """

    __slots__ = ("_record", "_straight", "_unsent", "held", "text")

    def __init__(self, record: RequestRecord) -> None:
        self._record = record
        self._straight: Straight | None = None
        self.text = ReplyText()
        self.held = b""
        self._unsent = b""

    def through(self, straight: Straight) -> Straight:
        """The straight way, past here."""
        self._straight = straight
        return self

    def holds(self, lines: bytes) -> bool:
        """Hold lines that may be the last; whether they are."""
        if _LAST.search(lines) is None:
            return False
        self.held = lines
        return True

    def released(self) -> bytes:
        """What was held, and is sent now."""
        held, self.held = self.held, b""
        return held

    def ended(self) -> bytes:
        """The stream is at its end: what was held, which is sent now; all that came is part of the text.

        A client that leaves just before the last line is not always met: nothing is sent to it but what was held.
        """
        self.text.add(self._unsent)
        held = self.released()
        self.text.add(held)
        return held

    def may_send(self) -> bool:
        """Whether a line can go straight: none before it is held."""
        return self._straight is not None and not self.held and self._straight.may_send()

    def send(self, piece: bytes) -> bool:
        """Send lines straight, but for the last."""
        if self.holds(piece):
            self._record.bytes_out -= len(piece)  # counted when it is sent
            return False
        if self._straight is None or not self._straight.may_send():
            self._unsent = piece
            return False  # the client has left
        goes_on = self._straight.send(piece)
        self.text.add(piece)
        return goes_on
