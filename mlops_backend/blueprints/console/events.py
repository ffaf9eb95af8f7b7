"""What happens now, as server-sent events for the console."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, cast

from quart import Blueprint, Response, g
from quart_schema import tag

from mlops_backend.errors import AppError, Unavailable
from mlops_backend.middleware.asgi import Scope
from mlops_backend.middleware.auth import Gate
from mlops_backend.middleware.request_context import at_hand, service
from mlops_backend.openapi import SSE, document_media_types
from mlops_backend.principal import Principal
from mlops_backend.services.other.live import Live

blueprint = Blueprint("console_events", __name__, url_prefix="/api/console")

_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@blueprint.get("/events")
@tag(["console"])
@document_media_types(200, SSE)
async def listen() -> Response:
    """Listen to what happens.

    Events `queue`, `generations`, `backends`, `errors` and `models`, each with the JSON of the route that tells the
    same, as far as the key may see it: one's own, and everything for the administrator. Each comes at once, and again
    when it has changed, once a second at most. A comment every 15 seconds says that the connection lives. With
    `Last-Event-ID` nothing is sent again that has not changed. The stream ends with the key, or the session, and when
    the service stops; 429 and 503 tell that too many listen, of this key or of all.
    """
    principal: Principal = g.principal
    listener = service(Live).listen(principal, at_hand().headers.get("Last-Event-ID", ""), _still(principal))
    answering = asyncio.current_task()
    assert answering is not None  # noqa: S101 - a view is run by one
    answering.add_done_callback(lambda _: listener.close())  # whatever becomes of the answer
    response = Response(listener.pieces(), content_type=SSE, headers=_HEADERS)
    response.timeout = None  # Quart would cut the body after RESPONSE_TIMEOUT
    return response


def _still(principal: Principal) -> Callable[[], Awaitable[Principal | None]]:
    """Who asks again with the same request at hand: `None` once the gate would keep them out."""
    asked, gate = at_hand(), service(Gate)
    route = "" if asked.url_rule is None else asked.url_rule.rule
    peer = (cast(Scope, asked.scope).get("client") or ("", 0))[0]

    async def look() -> Principal | None:
        try:
            session = await gate.session_of(asked.method, route, asked.headers)
            decision = gate.authorise(asked.method, route, asked.headers, peer, session)
        except Unavailable:  # nobody can say at present
            return principal
        except AppError:
            return None
        return decision.principal if decision.error is None else None

    return look
