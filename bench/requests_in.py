"""A connection's requests, each when it is whole: what the benchmark's own servers have in common."""

import asyncio
import re
from abc import abstractmethod

LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class RequestsIn(asyncio.Protocol):
    """One connection; bodies come with their length."""

    def __init__(self) -> None:
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self._buffer, 0, end)
            body_end = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < body_end:
                return
            head, body = self._buffer[:end], self._buffer[end + 4 : body_end]
            self._buffer = self._buffer[body_end:]
            self._answer(head, body)

    @abstractmethod
    def _answer(self, head: bytes, body: bytes) -> None:
        """Answer one."""
