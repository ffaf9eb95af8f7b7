"""A client that takes nothing is told from one that is slow."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from mlops_backend.connections.outgoing import Outgoing, _in_kernel


class Taking:
    """A socket's writing side, of which a client takes as much as a test says."""

    def __init__(self) -> None:
        self.transport = self
        self.left = 0

    def get_write_buffer_size(self) -> int:
        """How much the kernel did not take."""
        return self.left

    def get_extra_info(self, name: str) -> None:
        """It has no socket to ask."""

    def is_closing(self) -> bool:
        """It stays open."""
        return False

    def write(self, data: bytes) -> None:
        """Take it."""

    async def drain(self) -> None:
        """Wait for nothing."""


async def test_a_body_that_looks_like_a_head_is_a_body() -> None:
    """A backend may answer with a recorded exchange: chunks are not begun in an answer whose length was told."""
    out = Outgoing(Taking())  # type: ignore[arg-type]
    out.begin()
    await out.send_framed(b"HTTP/1.1 200 \r\nContent-Length: 99\r\n\r\n")
    out.send_head()
    await out.send_framed(b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n")
    out.send_head()
    assert not out.may_send()
    out.begin()
    await out.send_framed(b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n")
    out.send_head()
    assert out.may_send()


def test_what_the_kernel_holds_is_nothing_where_it_does_not_tell() -> None:
    """A connection that is gone has no socket, or one that is closed, or one that cannot be asked."""
    ours, theirs = socket.socketpair()
    theirs.close()
    ours.close()
    with Path(os.devnull).open() as no_socket:
        assert [_in_kernel(connected) for connected in (None, ours, no_socket)] == [0, 0, 0]


def test_a_client_is_stuck_when_it_took_nothing_for_so_long() -> None:
    """Whatever it takes begins the time anew, and so does an answer that was taken whole."""
    out = Outgoing(writer := Taking())  # type: ignore[arg-type]
    stuck = []
    for moment, writer.left in (
        (0.0, 0),
        (1.0, 50),
        (2.0, 50),
        (2.25, 50),
        (2.5, 49),
        (3.5, 49),
        (3.75, 0),
        (4.0, 49),
        (5.0, 49),
        (5.25, 49),
    ):
        if out.is_stuck(moment, 1.0):
            stuck.append(moment)
    assert stuck == [2.25, 5.25]
