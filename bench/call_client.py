"""Calls one after the other on one kept connection, with a blocking socket: nothing is faster from Python."""

import re
import socket
import time

from bench.wire import HOST, Address

TIMEOUT = 10.0
READ_SIZE = 65536
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
CLOSES = re.compile(rb"(?i)\r\nconnection: *close")


class Caller:
    """One client of one target; it connects again when the server closes, outside the measured time."""

    def __init__(self, address: Address) -> None:
        self._port = address.port
        self._request = address.whole_request()
        self._whole_end = address.family.whole_end
        self._socket: socket.socket | None = None

    def call(self) -> int:
        """Make one call and return the nanoseconds that it took."""
        connection = self._connected()
        started = time.perf_counter_ns()
        connection.sendall(self._request)
        head, body = self._read(connection)
        taken = time.perf_counter_ns() - started
        if not head.startswith(b"HTTP/1.1 200") or not self._whole_end.search(body):
            raise RuntimeError(f"port {self._port} answered {head!r} {body[:200]!r}")
        if CLOSES.search(head):
            self.close()
        return taken

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection((HOST, self._port), TIMEOUT)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _read(self, connection: socket.socket) -> tuple[bytes, bytes]:
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._receive(connection)
        head, body = data[:end], data[end + 4 :]
        length = LENGTH.search(head)
        while len(body) < int(length[1]) if length else not body.endswith(b"0\r\n\r\n"):
            body += self._receive(connection)
        return head, body

    def _receive(self, connection: socket.socket) -> bytes:
        data = connection.recv(READ_SIZE)
        if not data:
            raise ConnectionError(f"port {self._port} closed in the middle of a reply")
        return data
