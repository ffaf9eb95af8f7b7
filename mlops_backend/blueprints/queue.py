"""The queue before the backends, as those see it who wait in it."""

from __future__ import annotations

from typing import Any

from quart import Blueprint, g
from quart_schema import document_response, tag

from mlops_backend.middleware.request_context import service
from mlops_backend.schemas.queue import QueueResponse
from mlops_backend.services.llm.leases import Lessor, told_queue

blueprint = Blueprint("queue", __name__, url_prefix="/api/llm")


@blueprint.get("/queue")
@tag(["llm"])
@document_response(QueueResponse, 200)
async def show_queue() -> dict[str, Any]:
    """Say who waits for a backend, and where one's own generations stand.

    A generation waits where every backend that has its model has `MAX_CONCURRENCY` of them. Keys take turns, by the
    tokens that they ask for and the `weight` of each; those with `X-Priority: batch`, or of a key with the `priority`
    `batch`, give way to others until they have waited for half a minute. The administrator sees each backend's slots,
    and how many of each key wait.
    """
    leases = service(Lessor)  # type: ignore[type-abstract]
    whose, everything = g.principal.id, g.principal.admin
    return told_queue(await leases.view(None if everything else whose), leases.bounds, whose, everything=everything)
