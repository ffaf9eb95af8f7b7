"""Polls one address every 20 ms on a connection of its own, and remembers when it was answered."""

import socket
import threading
import time

from trial.gaps import EVERY, Gap, gaps_between

REQUEST = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
PATIENCE = 5.0


class Poller(threading.Thread):
    """One poller; `stop` is set by whoever owns it."""

    def __init__(self, port: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._stopped = stop
        self._socket: socket.socket | None = None
        self.moments = [time.monotonic()]
        self.polls = 0

    def run(self) -> None:
        """Poll until told to stop; the time since the last answer counts too."""
        while not self._stopped.is_set():
            due = time.monotonic() + EVERY
            if self._poll():
                self.moments.append(time.monotonic())
            self._stopped.wait(max(0.0, due - time.monotonic()))
        self.moments.append(time.monotonic())
        self._close()

    @property
    def gaps(self) -> list[Gap]:
        """The spans without an answer that are worth noting."""
        return gaps_between(self.moments)

    def _poll(self) -> bool:
        self.polls += 1
        try:
            if self._socket is None:
                self._socket = socket.create_connection(("127.0.0.1", self._port), PATIENCE)
            self._socket.sendall(REQUEST)
            return self._read(self._socket)
        except OSError:
            self._close()
            return False

    def _read(self, connection: socket.socket) -> bool:
        data = connection.recv(65536)
        if not data or b"connection: close" in data.lower():
            self._close()
        return data.startswith(b"HTTP/1.1 200")

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
