"""The end of a stream, kept while it passes: its last lines hold the usage and say whether it is whole."""

from __future__ import annotations

from collections import deque
from typing import Final

MAX_LINE_BYTES: Final = 32 * 1024 * 1024
_GROUPS: Final = 4
_TRIM_AT: Final = 1024 * 1024
_KEPT_WHEN_TRIMMED: Final = 64 * 1024


class Tail:
    """The last few groups of lines, and how many lines there were.

    A chunk that ends with a newline, as every write of a backend does, is a group by itself and costs an append.
    Others are held until one does; of what is held over `_TRIM_AT` only the end is kept, and of a line longer than
    `MAX_LINE_BYTES` nothing.
    """

    __slots__ = ("_held", "_recent", "_size", "last", "lines")

    def __init__(self) -> None:
        self._recent: deque[bytes] = deque(maxlen=_GROUPS)
        self._held: list[bytes] = []
        self._size = 0
        self.lines = 0
        self.last = b""

    def feed(self, chunk: bytes) -> None:
        """Note bytes that pass."""
        self.last = chunk
        self.lines += chunk.count(b"\n")
        if not self._held and chunk.endswith(b"\n"):
            self._recent.append(chunk)
        else:
            self._hold(chunk)

    def text(self) -> bytes:
        """What is kept: the last lines, an unfinished one included."""
        return b"".join((*self._recent, *self._held))

    def _hold(self, chunk: bytes) -> None:
        self._held.append(chunk)
        self._size += len(chunk)
        if chunk.endswith(b"\n"):
            self._recent.append(b"".join(self._held))
            self._held, self._size = [], 0
        elif self._size > _TRIM_AT and b"\n" in chunk:
            head, _, rest = b"".join(self._held).rpartition(b"\n")
            self._recent.append(head[-_KEPT_WHEN_TRIMMED:] + b"\n")
            self._held, self._size = [rest], len(rest)
        elif self._size > MAX_LINE_BYTES:
            self._held, self._size = [b"\0"], 1
