"""OpenAI's Responses API: a backend answers, and what it answered is stored here."""

from __future__ import annotations

from typing import Final, cast

from quart import Blueprint, Response, g
from quart.typing import ResponseReturnValue
from quart_schema import document_response, tag, validate_querystring

from mlops_backend.middleware.asgi import Scope
from mlops_backend.middleware.body_limit import body_of
from mlops_backend.middleware.drop_in import answer, asked_by, check_large
from mlops_backend.middleware.request_context import at_hand, service
from mlops_backend.openapi import SSE, document_relayed
from mlops_backend.schemas.responses import (
    DeletedResponseResponse,
    DeletedResponsesResponse,
    InputItemsResponse,
    ListInputItemsQuery,
    StoredResponseResponse,
)
from mlops_backend.services.llm import asked as tasks
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.other.responses import StoredResponses

blueprint = Blueprint("responses", __name__, url_prefix="/v1/responses")

admin_blueprint = Blueprint("admin_responses", __name__, url_prefix="/api/admin/keys")

_UNSTORED: Final = {"Cache-Control": "no-store"}


@blueprint.post("")
@tag(["openai"])
@document_relayed({"model": "smollm2:135m", "input": "Name a colour."}, "application/json", SSE)
async def create_response() -> Response:
    """Answer by the Responses API.

    Streamed as server-sent events when `stream` is true. Stored for the key that asks unless `store` is false, and
    continued by `previous_response_id`. A backend that is too old for it answers by its own chat.
    """
    asked = await asked_by(tasks.RESPONSES)
    grow = body_of(cast(Scope, at_hand().scope)).grow  # what came before counts as if the client had sent it
    begun = await service(StoredResponses).begin(asked, g.principal.id, grow)
    if begun is None:
        return await answer(asked)
    try:
        await _check_longer(asked, begun.asked)
        return await answer(begun.asked, begun.whole)
    except BaseException:
        begun.let_go()
        raise


@blueprint.get("/<response_id>")
@tag(["responses"])
@document_response(StoredResponseResponse, 200)
async def get_response(response_id: str) -> ResponseReturnValue:
    """Read a stored response.

    As it was answered; another key's is a 404.
    """
    told = await service(StoredResponses).get(g.principal.id, response_id)
    return Response(told.encode("utf-8", "surrogateescape"), content_type="application/json", headers=_UNSTORED)


@blueprint.delete("/<response_id>")
@tag(["responses"])
@document_response(DeletedResponseResponse, 200)
async def delete_response(response_id: str) -> ResponseReturnValue:
    """Delete a stored response.

    Those that continue it stay, and cannot be continued any more.
    """
    await service(StoredResponses).delete(g.principal.id, response_id)
    return DeletedResponseResponse(id=response_id).model_dump()


@blueprint.get("/<response_id>/input_items")
@tag(["responses"])
@document_response(InputItemsResponse, 200)
@validate_querystring(ListInputItemsQuery)
async def list_input_items(response_id: str, query_args: ListInputItemsQuery) -> ResponseReturnValue:
    """List what a stored response was asked with.

    The items of its own request, the last one first; what it continues has its own.
    """
    items = await service(StoredResponses).input_items(g.principal.id, response_id)
    if query_args.order == "desc":
        items = items[::-1]
    start = next((place + 1 for place, item in enumerate(items) if item["id"] == query_args.after), 0)
    page = items[start : start + query_args.limit]
    ids = [item["id"] for item in page]
    told = InputItemsResponse(
        data=page,
        first_id=ids[0] if ids else None,
        last_id=ids[-1] if ids else None,
        has_more=len(items) > start + len(page),
    )
    return told.model_dump(), 200, _UNSTORED


@admin_blueprint.delete("/<key_id>/responses")
@tag(["responses"])
@document_response(DeletedResponsesResponse, 200)
async def delete_responses_of_key(key_id: str) -> ResponseReturnValue:
    """Delete every stored response of a key.

    `settings:NAME` for one of `API_KEYS`; those of a key that is revoked go by themselves.
    """
    return {"deleted": await service(StoredResponses).delete_all(key_id)}


async def _check_longer(asked: Asked, longer: Asked) -> None:
    """Check a request with what came before as if the client had sent it; raises what that would raise."""
    before, now = asked.content, longer.content
    if isinstance(before, bytes) and isinstance(now, bytes) and len(now) > len(before):
        await check_large(now)
