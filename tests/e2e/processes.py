"""Programs that run beside a test: their environment, their ports, and waiting for them."""

import os
import socket
import time
import urllib.request
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path
from typing import cast

from tests.loops import CHOICE

REPOSITORY = Path(__file__).resolve().parents[2]
# What a shell of a newcomer has; nothing of the developer's settings, of make, or of an active environment.
KEPT = ("HOME", "LANG", "LC_ALL", "PATH", "SSL_CERT_FILE", "TMPDIR", "USER")
KEPT_PREFIXES = (
    "PIP_",
    "PYENV_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)


def clean_environment(**added: str) -> dict[str, str]:
    """Return the environment of a fresh shell, with the tests' own event loop and what a test adds."""
    kept = {name: text for name, text in os.environ.items() if name in KEPT or name.startswith(KEPT_PREFIXES)}
    return {**kept, **({} if CHOICE == "auto" else {"EVENT_LOOP": CHOICE}), **added}


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return cast("int", listener.getsockname()[1])


def open_directly(request: urllib.request.Request | str, timeout: float = 5) -> HTTPResponse:
    """Open an address past any proxy; a refused connection or a status of 400 and more raises OSError."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return cast("HTTPResponse", opener.open(request, timeout=timeout))


def answers(url: str) -> bool:
    """Tell whether a GET of this address succeeds now."""
    try:
        with open_directly(url, timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float, otherwise: Callable[[], str]) -> None:
    """Wait for a condition; when the time is up, fail with what `otherwise` can tell."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {seconds} s:\n{otherwise()}")
        time.sleep(0.05)
