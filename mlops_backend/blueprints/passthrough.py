"""Routes that the operator lists in `PASSTHROUGH_ROUTES`: Ollama grows faster than this service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from quart import Blueprint, Response, request
from quart_schema import hide

from mlops_backend.middleware.drop_in import forward
from mlops_backend.services.llm.asked import passed_through


def passthrough(routes: Sequence[tuple[str, str]]) -> Blueprint:
    """A blueprint of (method, path) pairs, each relayed as it stands, its query included."""
    blueprint = Blueprint("passthrough", __name__)
    for method, path in routes:
        blueprint.add_url_rule(path, f"{method} {path}".replace(".", "_"), _view(path), methods=[method])
    return blueprint


def _view(path: str) -> Callable[[], Awaitable[Response]]:
    task = passed_through(path)

    @hide
    async def relay_route() -> Response:
        """Relay what the operator lets through."""
        query = request.query_string.decode("ascii", "replace")
        return await forward(task, f"{path}?{query}" if query else path)

    return relay_route
