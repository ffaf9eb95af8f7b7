"""Frames: a stream's bytes, cut only where one of its objects ends, so that a break never leaves half of one."""

from __future__ import annotations

import re
from typing import Final

from mlops_backend.errors import BackendNonsense

MAX_FRAME_BYTES: Final = 8 * 1024 * 1024
LINE: Final = re.compile(rb"\n")
EVENT: Final = re.compile(rb"\r?\n\r?\n")
_EDGE: Final = 3  # a boundary may begin in one chunk and end in the next


class Frames:
    """The same bytes, in whole frames.

    A chunk that ends with a frame, as every write of a backend does, is not looked at further and given back untouched.
    Cut at these bytes alone: U+0085 and U+2028 are legal inside a JSON string.

    Args:
        boundary: what ends a frame: `LINE` or `EVENT`.
    """

    __slots__ = ("_boundary", "_edge", "_ends", "_held", "_size")

    def __init__(self, boundary: re.Pattern[bytes]) -> None:
        self._boundary = boundary
        self._ends = (b"\n",) if boundary is LINE else (b"\n\n", b"\r\n\r\n")
        self._held: list[bytes] = []
        self._size = 0
        self._edge = b""

    def feed(self, chunk: bytes) -> bytes:
        """Take bytes as they arrive; give whole frames, or nothing yet.

        Raises:
            BackendNonsense: a frame longer than `MAX_FRAME_BYTES`.
        """
        return chunk if not self._held and chunk.endswith(self._ends) else self._joined(chunk)

    def rest(self) -> bytes:
        """What is left at the end: a frame that was never ended."""
        left, self._held, self._size, self._edge = b"".join(self._held), [], 0, b""
        return left

    def _joined(self, chunk: bytes) -> bytes:
        self._held.append(chunk)
        self._size += len(chunk)
        if self._size > MAX_FRAME_BYTES:
            raise BackendNonsense("The backend sent an object longer than this service accepts.")
        seam, self._edge = self._edge + chunk, (self._edge + chunk)[-_EDGE:]
        if not self._boundary.search(seam):
            return b""
        joined = self.rest()
        end = max((found.end() for found in self._boundary.finditer(joined)), default=0)
        if end < len(joined):
            self._held, self._size, self._edge = [joined[end:]], len(joined) - end, joined[end:][-_EDGE:]
        return joined[:end]
