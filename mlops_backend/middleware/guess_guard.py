"""Keys that are guessed: an address that presents too many unknown ones has to wait."""

from __future__ import annotations

from base64 import b64decode
from math import ceil
from typing import Final

from werkzeug.datastructures import Headers

from mlops_backend.errors import TooManyFailedKeys
from mlops_backend.services.other.limits import FailedKeys

_BEYOND_GUESSING: Final = 32


class GuessGuard:
    """Counts failed keys by address.

    While an address has failed too often, a wrong key is answered 429, and so is a right one that is shorter than 32
    characters: else its guess would still succeed. A longer key cannot be guessed and always passes, so that nobody
    behind the same address is locked out by a neighbour.

    Args:
        failed: the counters; `None`: nobody has to wait.
    """

    def __init__(self, failed: FailedKeys | None) -> None:
        self._failed = failed

    async def failed(self, client: str, headers: Headers) -> None:
        """Count a key that nobody knows, if one was presented.

        Raises:
            TooManyFailedKeys: the address has to wait.
        """
        if self._failed is None or not presented_keys(headers):
            return
        if (wait := await self._failed.count(client)) is not None:
            raise _too_many(wait) from None

    def known(self, client: str, headers: Headers) -> None:
        """Let a known key pass, unless it may have been guessed.

        Raises:
            TooManyFailedKeys: the address has to wait.
        """
        if self._failed is not None and (wait := self._failed.blocked(client)) is not None and _is_short(headers):
            raise _too_many(wait)


def presented_keys(headers: Headers) -> list[frozenset[bytes]]:
    """Every key that the request carries, each with the ways in which it may be read.

    `X-API-Key` and `Authorization: Bearer` can be read in one way; of `Basic` either part may be the key. An
    `Authorization` of another scheme is not ours, and says nothing.
    """
    presented = [frozenset({_raw(key)}) for key in headers.getlist("X-API-Key") if key]
    for value in headers.getlist("Authorization"):
        scheme, _, credential = value.partition(" ")
        if scheme.lower() == "bearer" and credential.strip():
            presented.append(frozenset({_raw(credential.strip())}))
        elif scheme.lower() == "basic":
            presented.append(_basic_parts(credential))
    return presented


def _basic_parts(credential: str) -> frozenset[bytes]:
    try:
        pair = b64decode(credential.strip(), validate=True)
    except ValueError:
        return frozenset()
    user, _, password = pair.partition(b":")
    return frozenset(part for part in (user, password) if part)


def _raw(key: str) -> bytes:
    return key.encode("latin-1", "replace")


def _is_short(headers: Headers) -> bool:
    return any(len(key) < _BEYOND_GUESSING for readings in presented_keys(headers) for key in readings)


def _too_many(wait: float) -> TooManyFailedKeys:
    seconds = max(1, ceil(wait))
    message = f"Too many unknown keys came from this address. Try again in {seconds} s."
    return TooManyFailedKeys(message, headers={"Retry-After": str(seconds)})
