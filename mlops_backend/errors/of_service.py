"""What is wrong with a backend, with the service, or for the moment: 5xx, and what backends refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from mlops_backend.errors.root import AppError


class BackendRejected(AppError):
    """The backend's own 4xx answer; the status is the backend's."""

    code = "backend_rejected"

    def __init__(self, status: int, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message, headers=headers)
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


class StreamBroken(BackendFailed):
    """The process that made a stream has died, or nobody can tell what it made."""

    code = "stream_broken"


class Unavailable(AppError):
    """Not now: try again."""

    status = 503
    code = "unavailable"
    default_headers: ClassVar[Mapping[str, str]] = {"Retry-After": "5"}


class AuditUnavailable(Unavailable):
    """What an administrator does cannot be noted."""

    code = "audit_unavailable"


class NoUsableBackend(Unavailable):
    """No backend can be used at present."""

    code = "no_usable_backend"


class BackendBusy(Unavailable):
    """The backend's own queue is full."""

    code = "backend_busy"


class QueueFull(Unavailable):
    """`MAX_QUEUE` generations wait for a slot of a backend already."""

    code = "queue_full"


class QueueTimedOut(Unavailable):
    """It did not come to a generation within `QUEUE_TIMEOUT`."""

    code = "queue_timeout"


class PoolFull(Unavailable):
    """All `UPSTREAM_MAX_CONNECTIONS` are in use."""

    code = "pool_full"


class TooManyStreams(Unavailable):
    """Too many streams run, or are kept for their readers, of this key or of all."""

    code = "too_many_streams"


class ListenersFull(Unavailable):
    """So many pages listen to what happens as one process serves."""

    code = "listeners_full"


class BodiesFull(Unavailable):
    """The bodies of all requests take `BODY_MEMORY` already."""

    code = "bodies_full"


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
