"""Signing in and out with a browser."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from quart import Blueprint, Response, g, request
from quart.typing import ResponseReturnValue
from quart_schema import document_response, tag

from mlops_backend.errors import Conflict
from mlops_backend.middleware.console_session import COOKIE
from mlops_backend.middleware.guess_guard import presented_keys
from mlops_backend.middleware.no_content import no_content
from mlops_backend.middleware.request_context import service
from mlops_backend.middleware.root_path import public_path
from mlops_backend.middleware.route_limit import limit
from mlops_backend.openapi import document_media_types
from mlops_backend.schemas.console import SessionResponse
from mlops_backend.services.other.console import ConsoleSessions, Session
from mlops_backend.services.other.info import InfoService
from mlops_backend.services.other.keys import KeyStores

blueprint = Blueprint("console_session", __name__, url_prefix="/api/console")
admin_blueprint = Blueprint("console_sessions", __name__, url_prefix="/api/admin/keys")

_UNSTORED: Final = {"Cache-Control": "no-store"}


@blueprint.post("/session")
@tag(["console"])
@document_response(SessionResponse, 201)
@limit("60/minute")
async def begin_session() -> ResponseReturnValue:
    """Sign in: exchange the key that asks for a session.

    The answer sets the cookie `mlops_console`, which no script can read and which no other site sends. It ends after
    `CONSOLE_SESSION_SECONDS`, and at once when the key's secret does. While it lasts, every route can be called with it
    in place of the key; what changes something needs `X-CSRF-Token` too. A key may sign in sixty times a minute. 409:
    no key asks, but a session, or nobody.
    """
    if (key := _key_that_asks()) is None:
        raise Conflict("Signing in needs the key itself, in X-API-Key or as Authorization: Bearer.")
    session = await service(ConsoleSessions).begin(g.principal, key)
    answer = Response("", status=201, content_type="application/json", headers=_UNSTORED)
    answer.set_data(SessionResponse(**_described(session)).model_dump_json())
    _set_cookie(answer, session.token, int(session.expires_at))
    return answer


@blueprint.get("/session")
@tag(["console"])
@document_response(SessionResponse, 200)
async def show_session() -> ResponseReturnValue:
    """Say who has signed in, with the token that changes need.

    401: nobody has, or the session has ended.
    """
    return _described(g.session), 200, _UNSTORED


@blueprint.delete("/session")
@tag(["console"])
@document_media_types(204)
async def end_session() -> ResponseReturnValue:
    """Sign out.

    204, also when there is no session.
    """
    if g.session is not None:
        await service(ConsoleSessions).end(g.session.token)
    return _signed_out()


@blueprint.delete("/sessions")
@tag(["console"])
@document_media_types(204)
async def end_own_sessions() -> ResponseReturnValue:
    """Sign out everywhere: end every session of one's own key.

    204, also when there is none.
    """
    await service(ConsoleSessions).end_all(g.principal.id)
    return _signed_out()


@admin_blueprint.delete("/<key_id>/sessions")
@tag(["console"])
@document_media_types(204)
async def end_sessions_of_key(key_id: str) -> ResponseReturnValue:
    """End every session of a key.

    204, also when there is none. The key goes on working; disable, rotate or revoke it to end both.
    """
    await service(ConsoleSessions).end_all(key_id)
    return no_content()


def _key_that_asks() -> bytes | None:
    """The key that the request presents; of the two parts of `Basic` the one that is a key."""
    find = service(KeyStores).find
    readings = [key for each in presented_keys(request.headers) for key in each]
    return next((key for key in readings if find(key) is not None), None)


def _described(session: Session | None) -> dict[str, Any]:
    who = g.principal
    return {
        "id": who.id,
        "name": who.name,
        "scopes": sorted(who.scopes),
        "admin": who.admin,
        "models": list(who.models),
        "signed_in": session is not None,
        "csrf_token": None if session is None else session.csrf_token,
        "expires_at": None if session is None else _written(session.expires_at),
        "version": service(InfoService).version,
    }


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _signed_out() -> Response:
    answer = no_content()
    _set_cookie(answer, "", 0)
    return answer


def _set_cookie(answer: Response, token: str, expires: int) -> None:
    """A browser says by `Origin` how it has reached us, whatever stands between."""
    by_tls = request.scheme == "https" or request.headers.get("Origin", "").startswith("https://")
    path = public_path("/")
    answer.set_cookie(COOKIE, token, expires=expires, path=path, secure=by_tls, httponly=True, samesite="Strict")
