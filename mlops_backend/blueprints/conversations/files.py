"""Stored conversations as files: taken out, and brought in."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final

from pydantic import ValidationError
from quart import Blueprint, Response, g, request
from quart.typing import ResponseReturnValue
from quart_schema import (
    RequestSchemaValidationError,
    document_request,
    document_response,
    tag,
    validate_querystring,
)

from mlops_backend.errors import DatabaseDown
from mlops_backend.middleware.request_context import record, service
from mlops_backend.openapi import document_media_types
from mlops_backend.schemas.conversations.exports import ConversationsDocument, ExportQuery, ImportedResponse
from mlops_backend.services.other.conversations import FORMATS, Exports, Imports, Whole, document
from mlops_backend.telemetry.record import RequestRecord

blueprint = Blueprint("conversation_files", __name__, url_prefix="/api/database/conversations")

_MEDIA_TYPES: Final = ("application/json", "text/markdown")


@blueprint.get("/export")
@tag(["conversations"])
@document_media_types(200, *_MEDIA_TYPES)
@document_response(ConversationsDocument, 200)
@validate_querystring(ExportQuery)
async def export_conversations(query_args: ExportQuery) -> Response:
    """Download all of one's own conversations, the oldest first.

    As JSON with everything that is kept of them, replaced replies and images included, one conversation a line: what
    `…/import` takes. Or as Markdown, to be read. What is begun or changed meanwhile may be in it or not. When the
    database fails on the way the connection is broken off: a download that ended well is complete.
    """
    return await _download(query_args, "conversations", service(Exports).every(g.principal.id))


@blueprint.get("/<conversation_id>/export")
@tag(["conversations"])
@document_media_types(200, *_MEDIA_TYPES)
@document_response(ConversationsDocument, 200)
@validate_querystring(ExportQuery)
async def export_conversation(conversation_id: str, query_args: ExportQuery) -> Response:
    """Download one conversation.

    As JSON in the same form as all of them, or as Markdown.
    """
    wholes = service(Exports).one(g.principal.id, conversation_id)
    return await _download(query_args, f"conversation-{conversation_id}", wholes)


@blueprint.post("/import")
@tag(["conversations"])
@document_response(ImportedResponse, 201)
@document_request(ConversationsDocument)
async def import_conversations() -> ResponseReturnValue:
    """Make conversations of an export in JSON.

    They belong to the key that asks and get new ids; texts, times, order, outcomes, replaced replies and images are as
    they were. All or nothing: when something does not fit, nothing is stored and `details` says what. What is there
    already stays, so importing twice makes everything twice. A file larger than `MAX_BODY_BYTES` can be taken apart at
    its lines: each is one conversation.
    """
    body = await request.get_json()
    try:
        made = await service(Imports).take(g.principal.id, body)
    except ValidationError as error:
        raise RequestSchemaValidationError(error) from None
    return {"conversations": [conversation.shown() for conversation in made]}, 201, {"Cache-Control": "no-store"}


async def _download(query: ExportQuery, name: str, wholes: AsyncGenerator[Whole, None]) -> Response:
    form = FORMATS[query.format]
    pieces = document(form, wholes)
    first = await anext(pieces)
    headers = {
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{name}.{form.suffix}"',
        "X-Content-Type-Options": "nosniff",
    }
    response = Response(_noted(first, pieces, record()), content_type=form.media_type, headers=headers)
    response.timeout = None  # Quart would cut the body after RESPONSE_TIMEOUT
    return response


async def _noted(first: bytes, rest: AsyncGenerator[bytes, Any], noted: RequestRecord) -> AsyncGenerator[bytes, None]:
    """A file has no word for an error: one on the way is let through, which breaks the connection off."""
    yield first
    try:
        async for piece in rest:
            yield piece
    except DatabaseDown as error:
        noted.error = error.code
        raise
