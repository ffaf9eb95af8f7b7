"""Generations that run: one's own, and everybody's for the administrator."""

from __future__ import annotations

from typing import Any

from quart import Blueprint, g
from quart_schema import document_response, tag

from mlops_backend.errors import NotFound
from mlops_backend.middleware.request_context import service
from mlops_backend.schemas.generations import EndedResponse, RunningResponse
from mlops_backend.services.llm.generation import Running, told_generation

blueprint = Blueprint("generations", __name__, url_prefix="/api/llm")


@blueprint.get("/generations")
@tag(["llm"])
@document_response(RunningResponse, 200)
async def list_generations() -> dict[str, Any]:
    """List the generations that run or wait.

    One's own; everybody's for the administrator, with their backends. What has ended is in `/api/usage`.
    """
    found = await service(Running).listed(_whose())
    shown = [told_generation(generation, everything=g.principal.admin) for generation in found]
    return {"generations": shown, "count": len(shown)}


@blueprint.delete("/generations/<request_id>")
@tag(["llm"])
@document_response(EndedResponse, 200)
async def end_generation(request_id: str) -> dict[str, Any]:
    """End a generation, wherever it is: in the queue, while a model is loaded, amid its answer.

    `request_id` is what `X-Request-ID` says. The backend is let go of at once; of a stream whose client takes nothing
    just then, once it does or `SEND_TIMEOUT` ends it. Whoever waits for the answer gets the error
    `generation_cancelled`: with status 499, or as the stream's last object. It is 404 where none of one's own has that
    id; the administrator ends anybody's.
    """
    ended = await service(Running).end(request_id, _whose())
    if not ended:
        raise NotFound("No generation of that id runs.")
    return {"ended": ended}


def _whose() -> str | None:
    return None if g.principal.admin else str(g.principal.id)
