"""The address that is listened on."""

from __future__ import annotations

import socket
import sys


def listen(host: str, port: int) -> socket.socket:
    """A listening address; bound before anything is started, so that a taken port costs nothing."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    bound.setblocking(False)
    try:
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def listen_or_say(host: str, port: int) -> socket.socket | None:
    """The same; `None` where that cannot be, once standard error has the reason in a line that names the settings."""
    try:
        return listen(host, port)
    except OSError as error:
        sys.stderr.write(f"HOST, PORT: cannot listen on {host}:{port}: {error.strerror}\n")
        return None
