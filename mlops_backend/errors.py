"""Every error the service answers with, as one tree; each class has a status and a code.

* AppError
  - BadRequest 400
    + InvalidJSON
    + Unsupported
  - Unauthorized 401
  - Forbidden 403
  - NotFound 404
  - MethodNotAllowed 405
  - Conflict 409
    + ConversationFull
  - PreconditionFailed 412
  - UnsupportedMediaType 415
  - InvalidBody 422
  - LimitExceeded 429
    + TooManyFailedKeys
  - BackendRejected          the backend's own 4xx, status kept
  - NotImplementedHere 501
  - BackendFailed 502
    + BackendRefused
    + BackendUnresolvable
    + BackendVanished
    + BackendNonsense
    + StreamIncomplete
  - Unavailable 503
    + NoUsableBackend
    + BackendBusy
    + PoolFull
    + TooManyStreams
    + Draining
    + DatabaseDown
    + DatabaseBusy
    + LimitsUnavailable
  - ClockRanOut 504
    + ConnectTimedOut
    + FirstByteTimedOut
    + IdleTimedOut

Services raise these, blueprints let them pass, one handler answers (`middleware/error_handlers.py`).
A message is written for the client: it names no secret and no prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class AppError(Exception):
    """The root of the tree: a sentence for the client, a status and a machine-readable code."""

    status: int = 500
    code: str = "internal_error"
    default_headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.headers: dict[str, str] = {**self.default_headers, **(headers or {})}


class BadRequest(AppError):
    """The request cannot be understood or cannot be served as it stands."""

    status = 400
    code = "bad_request"


class InvalidJSON(BadRequest):
    """The body is not JSON text: syntax, encoding, depth or a non-finite number."""

    code = "invalid_json"


class Unsupported(BadRequest):
    """The model or its backend cannot do what was asked (images, tools, …)."""

    code = "unsupported"


class Unauthorized(AppError):
    """No key, or one that nobody knows."""

    status = 401
    code = "unauthorized"
    default_headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": 'Bearer realm="mlops_backend"'}


class Forbidden(AppError):
    """A known key that may not do this."""

    status = 403
    code = "forbidden"


class NotFound(AppError):
    """No such route or object."""

    status = 404
    code = "not_found"


class MethodNotAllowed(AppError):
    """The route does not take this method; `Allow` names those it takes."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, *allowed: str) -> None:
        super().__init__("The route does not take this method.", headers={"Allow": ", ".join(allowed)})


class Conflict(AppError):
    """What is asked does not fit what is there: a key that was revoked, one key too many."""

    status = 409
    code = "conflict"


class ConversationFull(Conflict):
    """A conversation, or all of a key's, would become larger than is allowed."""

    code = "conversation_full"


class PreconditionFailed(AppError):
    """Somebody else has changed it since: it has another version than `If-Match` names."""

    status = 412
    code = "precondition_failed"


class UnsupportedMediaType(AppError):
    """The body declares a type that is not JSON."""

    status = 415
    code = "unsupported_media_type"


class InvalidBody(AppError):
    """JSON that breaks the schema; `details` names each field."""

    status = 422
    code = "validation_error"

    def __init__(self, message: str, details: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(message)
        self.details = list(details)


class LimitExceeded(AppError):
    """This key's own limit; `Retry-After` and the `RateLimit` fields tell when to come again."""

    status = 429
    code = "rate_limited"


class TooManyFailedKeys(LimitExceeded):
    """Too many keys that nobody knows came from this address."""

    code = "too_many_failed_keys"


class BackendRejected(AppError):
    """The backend's own 4xx answer; the status is the backend's."""

    code = "backend_rejected"

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        if status == 404:
            self.code = "model_not_found"


class NotImplementedHere(AppError):
    """A route of the API that this kind of backend has nothing behind."""

    status = 501
    code = "not_implemented"


class BackendFailed(AppError):
    """The backend failed: a 5xx, or a failure told inside its stream."""

    status = 502
    code = "backend_failed"


class BackendRefused(BackendFailed):
    """Nothing listens at the backend's address."""

    code = "backend_refused"


class BackendUnresolvable(BackendFailed):
    """The backend's host name has no address."""

    code = "backend_unresolvable"


class BackendVanished(BackendFailed):
    """The connection ended before the answer did."""

    code = "backend_vanished"


class BackendNonsense(BackendFailed):
    """The answer is not what the protocol allows."""

    code = "backend_nonsense"


class StreamIncomplete(BackendFailed):
    """A stream ended without its last frame."""

    code = "stream_incomplete"


class Unavailable(AppError):
    """Not now: try again."""

    status = 503
    code = "unavailable"
    default_headers: ClassVar[Mapping[str, str]] = {"Retry-After": "5"}


class NoUsableBackend(Unavailable):
    """No backend can be used at present."""

    code = "no_usable_backend"


class BackendBusy(Unavailable):
    """The backend's own queue is full."""

    code = "backend_busy"


class PoolFull(Unavailable):
    """All `UPSTREAM_MAX_CONNECTIONS` are in use."""

    code = "pool_full"


class TooManyStreams(Unavailable):
    """Too many capability URLs are waiting to be used."""

    code = "too_many_streams"


class Draining(Unavailable):
    """The process is stopping and takes no new generations."""

    code = "draining"


class DatabaseDown(Unavailable):
    """What was asked needs the database, and that cannot be reached."""

    code = "database_down"


class DatabaseBusy(DatabaseDown):
    """Too many write to the database at present, and it has not come to this one."""

    code = "database_busy"


class LimitsUnavailable(Unavailable):
    """A budget cannot be checked at present, and is not to be overdrawn."""

    code = "limits_unavailable"


class ClockRanOut(AppError):
    """One of the three clocks of a generation ran out."""

    status = 504
    code = "timeout"


class ConnectTimedOut(ClockRanOut):
    """`CONNECT_TIMEOUT` passed without a connection."""

    code = "connect_timeout"


class FirstByteTimedOut(ClockRanOut):
    """`FIRST_BYTE_TIMEOUT` passed without a byte of the answer."""

    code = "first_byte_timeout"


class IdleTimedOut(ClockRanOut):
    """`IDLE_TIMEOUT` passed between two frames."""

    code = "idle_timeout"
