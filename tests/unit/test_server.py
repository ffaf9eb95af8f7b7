"""The listening socket."""

from __future__ import annotations

import socket

from mlops_backend.server import listen


def test_connections_send_at_once() -> None:
    """An accepted connection has Nagle's algorithm off: with it a token waits some 40 ms for the client's ACK."""
    with listen("127.0.0.1", 0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()):
            listener.setblocking(True)
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_connections_can_be_cut() -> None:
    """What was accepted can be shut from here, so that a client cannot hold up the end."""
    with listen("127.0.0.1", 0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname(), timeout=5) as client:
            listener.setblocking(True)
            accepted, _ = listener.accept()
            with accepted:
                listener.cut()
                assert client.recv(1) == b""
