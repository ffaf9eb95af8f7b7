"""An answer's bytes that are none of its body: bounded, so that a backend which sends no other is not read for ever.

Interim answers, headers and the extensions of chunks are thrown away as they come, and nobody who waits for the body
learns of them: until a clock runs out they would take a whole processor.
"""

from __future__ import annotations

from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

# The largest head that is accepted, twice. A chunk of one byte takes six; a token's takes a tenth more than itself.
_MOST: Final = 128 * 1024
_A_BYTE: Final = 8
# A close that was on its way when the request left is seen within this many seconds; later a backend has begun to work.
_AT_ONCE: Final = 1.0
_SENTENCE: Final = "there is more around the body than in it"


class StaleConnection(aiohttp.ServerDisconnectedError):
    """A kept connection was closed just as it was taken: the request on it is to be sent on another one."""


class BoundedHandler(ResponseHandler):
    """aiohttp's handler of one connection to a backend; it gives up where the overhead of an answer has no end."""

    _arrived = 0
    _requests = 0
    _asked_at = 0.0

    def set_response_params(self, **params: Any) -> None:
        """A request is about to be sent: count its answer from here."""
        self._arrived = 0
        self._requests += 1
        self._asked_at = self._loop.time()
        super().set_response_params(**params)

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """The connection has failed; tell whether it was a kept one that nothing came on."""
        if self._is_stale() and isinstance(exc, OSError | aiohttp.ClientError):
            exc = StaleConnection()
        super().set_exception(exc, *(() if exc_cause is None else (exc_cause,)))

    def _is_stale(self) -> bool:
        return self._requests > 1 and not self._arrived and self._loop.time() - self._asked_at < _AT_ONCE

    def data_received(self, data: bytes) -> None:
        """Take bytes from the backend."""
        super().data_received(data)
        self._arrived += len(data)
        if self._arrived > _MOST and self._arrived > _MOST + _A_BYTE * self._of_body():
            self._give_up()

    def _of_body(self) -> int:
        return 0 if self._payload is None else self._payload.total_bytes

    def _give_up(self) -> None:
        payload, self._payload = self._payload, None
        if payload is not None:
            payload.set_exception(aiohttp.ClientError(_SENTENCE))
        self.set_exception(HttpProcessingError(code=400, message=_SENTENCE))
        if self.transport is not None:
            self.transport.abort()
