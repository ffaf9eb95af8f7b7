"""The queue before the backends, as those see it who wait in it."""

from __future__ import annotations

from typing import Any

from quart import Blueprint, g
from quart_schema import document_response, tag

from mlops_backend.middleware.request_context import service
from mlops_backend.schemas.queue import QueueResponse
from mlops_backend.services.llm.leases import Lessor

blueprint = Blueprint("queue", __name__, url_prefix="/api/llm")


@blueprint.get("/queue")
@tag(["llm"])
@document_response(QueueResponse, 200)
async def show_queue() -> dict[str, Any]:
    """Say who waits for a backend, and where one's own generations stand.

    A generation waits where every backend that has its model has `MAX_CONCURRENCY` of them. Keys take turns, by the
    tokens that they ask for and the `weight` of each; those with `X-Priority: batch`, or of a key with the `priority`
    `batch`, give way to others until they have waited for half a minute.
    """
    leases = service(Lessor)  # type: ignore[type-abstract]
    seen = await leases.view(g.principal.id)
    shown: dict[str, Any] = {
        "running": sum(backend.taken for backend in seen.backends),
        "waiting": seen.waiting,
        "max_waiting": leases.bounds.waiting,
        "own": [
            {
                "class": "batch" if place.batch else "interactive",
                "ahead": place.ahead,
                "waited_seconds": round(place.waited, 3),
                "expected_seconds": round(place.expected, 3),
            }
            for place in seen.own
        ],
    }
    if g.principal.admin:
        shown["backends"] = [
            {"name": each.name, "running": each.taken, "max_concurrency": each.most, "waiting": each.waiting}
            for each in seen.backends
        ]
    return shown
