"""What is wrong with a request, or who asks: 4xx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mlops_backend.errors.root import AppError


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
    """No key, or one that nobody knows: some clients would try ten times, as if it might become known."""

    status = 401
    code = "unauthorized"
    default_headers: ClassVar[Mapping[str, str]] = {
        "WWW-Authenticate": 'Bearer realm="mlops_backend"',
        "X-Should-Retry": "false",
    }


class Forbidden(AppError):
    """A known key that may not do this."""

    status = 403
    code = "forbidden"


class CsrfTokenMissing(Forbidden):
    """A browser's session would change something, without the token that only our own pages know."""

    code = "csrf_token_missing"


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


class IdempotencyKeyReused(Conflict):
    """An `Idempotency-Key` that stands for another request already."""

    code = "idempotency_key_reused"


class StreamGone(AppError):
    """A part of a stream that is asked for is not kept any more."""

    status = 410
    code = "stream_gone"


class PreconditionFailed(AppError):
    """Somebody else has changed it since: it has another version than `If-Match` names."""

    status = 412
    code = "precondition_failed"


class BodyTooLarge(AppError):
    """The body has more bytes than its route takes."""

    status = 413
    code = "body_too_large"


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


class KeyBodiesFull(LimitExceeded):
    """The bodies of this key's requests take `BODY_MEMORY_PER_KEY` already."""

    code = "key_bodies_full"
    default_headers: ClassVar[Mapping[str, str]] = {"Retry-After": "1"}


class KeyQueueFull(LimitExceeded):
    """`MAX_QUEUE_PER_KEY` generations of this key wait for a slot of a backend already."""

    code = "key_queue_full"


class KeyListenersFull(LimitExceeded):
    """So many pages of this key listen to what happens as one key may have."""

    code = "key_listeners_full"
    default_headers: ClassVar[Mapping[str, str]] = {"Retry-After": "10"}


class GenerationCancelled(AppError):
    """Its owner, or the administrator, has ended it (`DELETE /api/llm/generations/{id}`); 499 as nginx has it."""

    status = 499
    code = "generation_cancelled"
