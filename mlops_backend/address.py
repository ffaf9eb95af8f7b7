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


def listen_or_say(host: str, port: int, setting: str = "PORT") -> socket.socket | None:
    """The same; `None` where that cannot be, once standard error has the reason in a line that names the settings."""
    try:
        return listen(host, port)
    except OSError as error:
        sys.stderr.write(f"HOST, {setting}: cannot listen on {host}:{port}: {error.strerror}\n")
        return None


def listen_twice_or_say(
    host: str, port: int, metrics_port: int | None
) -> tuple[socket.socket, socket.socket | None] | None:
    """One for clients and, where there is to be one, one for monitoring; `None` where one of them cannot be."""
    bound = listen_or_say(host, port)
    if bound is None or metrics_port is None:
        return None if bound is None else (bound, None)
    if (beside := listen_or_say(host, metrics_port, "METRICS_PORT")) is None:
        bound.close()
        return None
    return bound, beside
