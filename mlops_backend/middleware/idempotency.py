"""Generations that outlive their connection: by `Idempotency-Key`, and by `Prefer: respond-async`.

With an `Idempotency-Key` a request that is sent again joins the generation that it began, or is answered with what that
gave. One that failed, or was refused, is not kept: who sends it again begins anew. With `Prefer: respond-async` (RFC
7240) a request of our own API is answered with the address of its stream. Either goes on as long as somebody comes for
it within `STREAM_GRACE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from secrets import token_urlsafe
from time import time
from typing import Any, Final, cast

import msgspec
from quart import Request, Response, g

from mlops_backend.aside import aside
from mlops_backend.errors import BadRequest, IdempotencyKeyReused
from mlops_backend.middleware.asgi import Scope
from mlops_backend.middleware.body_limit import body_of
from mlops_backend.middleware.detached import Admitted, Detached, DetachedRequests
from mlops_backend.middleware.json_body import JSONRequest
from mlops_backend.middleware.kept_answers import kept_answer
from mlops_backend.middleware.request_context import IDEMPOTENCY, PREFERENCES, at_hand, record, said_in, service
from mlops_backend.middleware.root_path import public_path
from mlops_backend.middleware.stream_answer import wanted
from mlops_backend.openapi import NDJSON, SSE
from mlops_backend.principal import Principal
from mlops_backend.services.llm.dialects import dumped
from mlops_backend.services.other.journals import Claim, Journals, Opening
from mlops_backend.telemetry.record import RequestRecord

HEADER: Final = "Idempotency-Key"
ASYNC: Final = "respond-async"
_LONGEST: Final = 255
_FORM: Final = "multipart/form-data"
# Of a form of more of them the rest is taken as it is.
_MOST_PARTS: Final = 100
_NAMES: Final = frozenset({IDEMPOTENCY, PREFERENCES})
_OWN_API: Final = "/api/llm/", "/api/database/"
_ACCEPTED: Final = 202
_REFUSED: Final = 400


class About(msgspec.Struct, frozen=True, array_like=True):
    """What a stream's journal says of it: whose it is, for whom they ask, and what it answers."""

    principal: Principal
    end_user: str
    path: str
    conversation_id: str | None = None


async def answer_detached(asked: Request, noted: RequestRecord) -> Response | None:
    """Answer a generation whose client wants it to outlive the connection; `None`: it is answered as always.

    Args:
        asked: the request at hand.
        noted: its record.

    Raises:
        BadRequest: an `Idempotency-Key` that cannot be one.
        IdempotencyKeyReused: it stands for another request.
        AppError: whatever keeps the answer away.
    """
    if not noted.generates:
        return None
    scope = cast(Scope, asked.scope)
    if not any([name in _NAMES for name, _ in said_in(scope)]):
        return None
    wants_address = _wants_address(asked.headers.getlist("Prefer"), asked.path)
    if not (wants_address or HEADER in asked.headers):
        return None
    # No name for the body: whoever waits here for an answer would hold it, and nobody would count it.
    if wants_address:
        return await respond_async(scope["path"], await _body_of(asked), _ACCEPTED)
    held, admitted = await _begun(Detached(scope, scope["path"], await _body_of(asked), _headers()), b"")
    return await kept_answer(service(Journals), held.id, admitted)  # type: ignore[type-abstract]


async def respond_async(path: str, body: bytes, status: int) -> Response:
    """Begin the generation that `path` would answer, and answer with the address of its stream.

    Args:
        path: of our own API; it may be another one than that of the request at hand.
        body: what it is asked.
        status: of the answer.

    Returns:
        Or the refusal, where there is one before a backend is asked.

    Raises:
        AppError: see `answer_detached`.
    """
    asked = at_hand()
    scope, conversation = cast(Scope, asked.scope), (asked.view_args or {}).get("conversation_id")
    about = About(g.principal, record().end_user, path, conversation)
    request = Detached(scope, path, body, (*_headers(), (b"accept", b"application/x-ndjson")), by_line=True)
    held, admitted = await _begun(request, msgspec.msgpack.encode(about))
    del request, body
    if admitted is not None:
        await admitted.wait()
        if not admitted.by_admission and (refusal := await _refusal(held.id, admitted)) is not None:
            return refusal
        record().answer_headers = admitted.headers
    headers = {"Location": address_of(held.id), **({"Idempotent-Replayed": "true"} if admitted is None else {})}
    if status == _ACCEPTED:
        headers["Preference-Applied"] = ASYNC
    return Response(dumped(shown(held)), status, headers, content_type="application/json")


def shown(opening: Opening) -> Mapping[str, Any]:
    """A stream as whoever began it is told of it."""
    return {"id": opening.id, "url": address_of(opening.id), "request_id": opening.request_id}


def address_of(stream: str) -> str:
    """Where a stream is read."""
    return public_path(f"/api/llm/streams/{stream}")


async def _refusal(journal: str, admitted: Admitted) -> Response | None:
    """What was refused before a backend was asked; nobody needs its journal then."""
    journals = service(Journals)  # type: ignore[type-abstract]
    head = (await journals.read(journal)).head
    if head is None or head.status < _REFUSED:
        return None
    refusal = await kept_answer(journals, journal, admitted)
    await journals.forget(journal)
    return refusal


async def _begun(request: Detached, about: bytes) -> tuple[Opening, Admitted | None]:
    """The journal of a request, and what tells that it is admitted, if it is a new one."""
    noted = record()
    noted.generates = False  # the row in the ledger is that of the generation
    claim = await _claim(request)
    opening = Opening(token_urlsafe(32), g.principal.id, noted.id, time(), about, claim)
    cast(JSONRequest, at_hand()).let_go()
    body_of(request.scope).let_go()  # it is counted once more where it is read
    held, admitted = await service(DetachedRequests).begin(opening, request)
    if claim is not None and held.claim is not None and held.claim.fingerprint != claim.fingerprint:
        raise IdempotencyKeyReused(f"This {HEADER} was used for another request; a new request needs a new one.")
    return held, admitted


async def _body_of(asked: Request) -> bytes:
    return cast(bytes, await asked.get_data(cache=False, as_text=False))


def _headers() -> list[tuple[bytes, bytes]]:
    """What the detached request has instead of the client's own."""
    return [(b"x-request-id", record().id.encode()), *((name, b"") for name in _NAMES)]


async def _claim(request: Detached) -> Claim | None:
    """What the request at hand claims by its `Idempotency-Key`: a name of its caller's, and what it stands for.

    Raises:
        BadRequest: the key cannot be one.
    """
    asked = at_hand()
    found = asked.headers.getlist(HEADER)
    if not found:
        return None
    if len(found) > 1 or not 0 < len(found[0]) <= _LONGEST or not found[0].isprintable():
        raise BadRequest(f"{HEADER} must be given once, with 1 to {_LONGEST} printable characters.")
    name = sha256(f"{g.principal.id}\0{found[0]}".encode()).hexdigest()
    said = [request.path, asked.query_string.decode("latin-1"), str(request.by_line), record().end_user]
    if request.path.startswith(_OWN_API) and not request.by_line and wanted(NDJSON) == SSE:
        said.append(SSE)
    boundary = asked.mimetype_params.get("boundary") if asked.mimetype == _FORM else None
    border = f"--{boundary}".encode() if boundary else b""
    return Claim(name, await aside(len(request.body), _fingerprint, "\0".join(said).encode(), request.body, border))


def _fingerprint(said: bytes, body: bytes, border: bytes) -> str:
    """What a request stands for; of a form without its border, which is another one each time that it is sent."""
    digest = sha256(said + b"\0")
    if not border:
        digest.update(body)
        return digest.hexdigest()
    for part in body.split(border, _MOST_PARTS):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.hexdigest()


def _wants_address(preferences: list[str], path: str) -> bool:
    named = {each.partition(";")[0].strip().lower() for line in preferences for each in line.split(",")}
    return ASYNC in named and path.startswith(_OWN_API)
