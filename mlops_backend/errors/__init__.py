"""Every error the service answers with, as one tree; each class has a status and a code.

* AppError
  - BadRequest 400
    + InvalidJSON
    + Unsupported
  - Unauthorized 401
  - Forbidden 403
    + CsrfTokenMissing
  - NotFound 404
  - MethodNotAllowed 405
  - Conflict 409
    + ConversationFull
    + IdempotencyKeyReused
  - StreamGone 410
  - PreconditionFailed 412
  - BodyTooLarge 413
  - UnsupportedMediaType 415
  - InvalidBody 422
  - LimitExceeded 429
    + TooManyFailedKeys
    + KeyBodiesFull
    + KeyQueueFull
    + KeyListenersFull
  - GenerationCancelled 499
  - BackendRejected          the backend's own 4xx, status kept
  - NotImplementedHere 501
  - BackendFailed 502
    + BackendRefused
    + BackendUnresolvable
    + BackendVanished
    + BackendNonsense
    + StreamIncomplete
    + StreamBroken
  - Unavailable 503
    + NoUsableBackend
    + BackendBusy
    + QueueFull
    + QueueTimedOut
    + PoolFull
    + TooManyStreams
    + ListenersFull
    + BodiesFull
    + Draining
    + DatabaseDown
    + DatabaseBusy
    + LimitsUnavailable
    + AuditUnavailable
  - ClockRanOut 504
    + ConnectTimedOut
    + FirstByteTimedOut
    + IdleTimedOut

Services raise these, blueprints let them pass, one handler answers (`middleware/error_handlers.py`).
A message is written for the client: it names no secret and no prompt.
"""

from __future__ import annotations

from mlops_backend.errors.of_requests import (
    BadRequest,
    BodyTooLarge,
    Conflict,
    ConversationFull,
    CsrfTokenMissing,
    Forbidden,
    GenerationCancelled,
    IdempotencyKeyReused,
    InvalidBody,
    InvalidJSON,
    KeyBodiesFull,
    KeyListenersFull,
    KeyQueueFull,
    LimitExceeded,
    MethodNotAllowed,
    NotFound,
    PreconditionFailed,
    StreamGone,
    TooManyFailedKeys,
    Unauthorized,
    Unsupported,
    UnsupportedMediaType,
)
from mlops_backend.errors.of_service import (
    AuditUnavailable,
    BackendBusy,
    BackendFailed,
    BackendNonsense,
    BackendRefused,
    BackendRejected,
    BackendUnresolvable,
    BackendVanished,
    BodiesFull,
    ClockRanOut,
    ConnectTimedOut,
    DatabaseBusy,
    DatabaseDown,
    Draining,
    FirstByteTimedOut,
    IdleTimedOut,
    LimitsUnavailable,
    ListenersFull,
    NotImplementedHere,
    NoUsableBackend,
    PoolFull,
    QueueFull,
    QueueTimedOut,
    StreamBroken,
    StreamIncomplete,
    TooManyStreams,
    Unavailable,
)
from mlops_backend.errors.root import AppError

__all__ = [
    "AppError",
    "AuditUnavailable",
    "BackendBusy",
    "BackendFailed",
    "BackendNonsense",
    "BackendRefused",
    "BackendRejected",
    "BackendUnresolvable",
    "BackendVanished",
    "BadRequest",
    "BodiesFull",
    "BodyTooLarge",
    "ClockRanOut",
    "Conflict",
    "ConnectTimedOut",
    "ConversationFull",
    "CsrfTokenMissing",
    "DatabaseBusy",
    "DatabaseDown",
    "Draining",
    "FirstByteTimedOut",
    "Forbidden",
    "GenerationCancelled",
    "IdempotencyKeyReused",
    "IdleTimedOut",
    "InvalidBody",
    "InvalidJSON",
    "KeyBodiesFull",
    "KeyListenersFull",
    "KeyQueueFull",
    "LimitExceeded",
    "LimitsUnavailable",
    "ListenersFull",
    "MethodNotAllowed",
    "NoUsableBackend",
    "NotFound",
    "NotImplementedHere",
    "PoolFull",
    "PreconditionFailed",
    "QueueFull",
    "QueueTimedOut",
    "StreamBroken",
    "StreamGone",
    "StreamIncomplete",
    "TooManyFailedKeys",
    "TooManyStreams",
    "Unauthorized",
    "Unavailable",
    "Unsupported",
    "UnsupportedMediaType",
]
