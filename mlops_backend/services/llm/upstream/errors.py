"""What went wrong with a backend, told from the exceptions of httpx and of the aiohttp beneath it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import aiohttp
import httpx

from mlops_backend.errors import (
    AppError,
    BackendFailed,
    BackendNonsense,
    BackendRefused,
    BackendUnresolvable,
    BackendVanished,
    ConnectTimedOut,
)


def classify(error: Exception) -> AppError:
    """Say what really happened, from the aiohttp error beneath an httpx one.

    httpx-aiohttp 0.2.0 maps refused, unresolvable and closed-early alike to `ConnectTimeout`.
    """
    cause = error if isinstance(error, aiohttp.ClientError | OSError) else error.__cause__
    for kind, make in _MEANINGS:
        if isinstance(cause, kind):
            return make()
    if isinstance(error, httpx.TimeoutException):
        return _connect_late()
    return BackendFailed("The call to the backend failed.")


def without_frames(meaning: AppError, error: BaseException | None) -> AppError:
    """`meaning`, once the errors behind it have forgotten where they were raised.

    aiohttp's frames hold their errors, whose tracebacks hold the frames, and those the request's body.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
    return meaning


def _connect_late() -> AppError:
    return ConnectTimedOut("Connecting to the backend took too long.")


def _vanished() -> AppError:
    return BackendVanished("The backend closed the connection before its answer was complete.")


# The first kind that fits counts: aiohttp's classes derive from one another.
_MEANINGS: Final[tuple[tuple[type[BaseException], Callable[[], AppError]], ...]] = (
    (aiohttp.ClientConnectorDNSError, lambda: BackendUnresolvable("The backend's host name cannot be resolved.")),
    (aiohttp.ServerTimeoutError, _connect_late),
    (aiohttp.ClientSSLError, lambda: BackendRefused("No TLS connection to the backend could be made.")),
    (aiohttp.ClientConnectorError, lambda: BackendRefused("The backend refuses connections.")),
    (aiohttp.ClientConnectionError, _vanished),
    (aiohttp.ClientPayloadError, _vanished),
    (OSError, _vanished),
    (aiohttp.ClientError, lambda: BackendNonsense("The backend's answer is not HTTP.")),
)
