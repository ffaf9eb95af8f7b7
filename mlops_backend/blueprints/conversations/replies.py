"""Stored conversations: a message, and a model's reply to it. Each request here is a generation."""

from __future__ import annotations

from collections.abc import Mapping
from time import time
from typing import Any

from quart import Blueprint, Response, g, request
from quart_schema import document_headers, document_response, tag, validate_request

from mlops_backend.aside import aside
from mlops_backend.errors import AppError
from mlops_backend.middleware.request_context import record, service
from mlops_backend.middleware.stream_answer import stream_answer
from mlops_backend.middleware.versions import etag, wanted_version
from mlops_backend.openapi import NDJSON, SSE, document_asking, document_media_types
from mlops_backend.schemas.conversations.bodies import (
    OWN_FIELDS,
    AskRequest,
    RegenerateRequest,
    ReplyResponse,
    VersionHeaders,
)
from mlops_backend.schemas.llm import StreamResponse
from mlops_backend.services.other.conversations import Replies, Turn, Turns, question

blueprint = Blueprint("replies", __name__, url_prefix="/api/database/conversations")


@blueprint.post("/<conversation_id>/messages")
@tag(["conversations"])
@document_asking
@document_headers(VersionHeaders)
@document_media_types(200, "application/json", NDJSON, SSE)
@document_response(ReplyResponse, 200)
@document_response(StreamResponse, 202)
@validate_request(AskRequest)
async def send_message(conversation_id: str, data: AskRequest) -> Response:
    """Say something, and get a model's reply.

    The message is stored first; then the model is shown the conversation, and its reply comes as `/api/llm/chat` gives
    it: streamed, or whole when `stream` is false. The last object has one member more, `conversation`, which says where
    the reply is kept, and how many of the oldest messages did not fit into the model's context
    (`omitted_messages`). A reply that is cut short is kept as far as it had come, with its `outcome`. When there is no
    reply at all, the message stays (`X-Message-ID`), and `…/regenerate` asks again. With `If-Match` only if the
    conversation is still at that version, else 412 and nothing is stored. With `Prefer: respond-async` the reply goes
    on without this connection: 202 tells the address of its stream.
    """
    asked = await aside(record().bytes_in, question, data, int(time() * 1000))
    turn = await service(Turns).ask(g.principal.id, conversation_id, asked, wanted_version())
    return await _answer(turn, data)


@blueprint.post("/<conversation_id>/regenerate")
@tag(["conversations"])
@document_asking
@document_headers(VersionHeaders)
@document_media_types(200, "application/json", NDJSON, SSE)
@document_response(ReplyResponse, 200)
@document_response(StreamResponse, 202)
@validate_request(RegenerateRequest)
async def regenerate_reply(conversation_id: str, data: RegenerateRequest) -> Response:
    """Get another reply to what was said last.

    It takes the place of the reply that is there, which is kept (`?replaced=true` shows it) and not shown to a model
    any more; if that one never came, it is simply made. Otherwise as `…/messages`.
    """
    turn = await service(Turns).again(g.principal.id, conversation_id, wanted_version())
    return await _answer(turn, data)


async def _answer(turn: Turn, data: RegenerateRequest) -> Response:
    stored = {"ETag": etag(turn.version), "X-Message-ID": turn.message_id}
    try:
        reply = await service(Replies).reply(turn, _for_model(await request.get_json()), record(), stream=data.stream)
    except AppError as error:
        error.headers.update(stored)  # the message stays, whatever became of the reply
        raise
    headers = {**stored, "X-Reply-ID": turn.reply_id, "X-Omitted-Messages": str(reply.omitted)}
    if isinstance(reply.body, bytes):
        return Response(reply.body, content_type="application/json", headers={**headers, "Cache-Control": "no-cache"})
    return stream_answer(reply.body, default=NDJSON, headers=headers, through=reply.through)


def _for_model(body: Mapping[str, Any]) -> dict[str, Any]:
    """What of the client's own JSON is passed on to a model."""
    return {name: value for name, value in body.items() if name not in OWN_FIELDS}
