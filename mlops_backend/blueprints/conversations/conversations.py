"""Stored conversations: begun, listed, read, changed and deleted. No model is asked here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic_core import to_json
from quart import Blueprint, Response, g, request
from quart.typing import ResponseReturnValue
from quart_schema import document_headers, document_response, tag, validate_querystring, validate_request

from mlops_backend.aside import LARGE, aside, rest
from mlops_backend.middleware.no_content import no_content
from mlops_backend.middleware.request_context import service
from mlops_backend.middleware.root_path import public_path
from mlops_backend.middleware.versions import etag, wanted_version
from mlops_backend.openapi import BYTES, document_media_types
from mlops_backend.schemas.conversations.bodies import (
    AppendedResponse,
    AppendRequest,
    ChangeConversationRequest,
    ConversationListResponse,
    ConversationResponse,
    ConversationSummary,
    CreateConversationRequest,
    DeletedResponse,
    ListConversationsQuery,
    ReadConversationQuery,
    TruncateRequest,
    VersionHeaders,
)
from mlops_backend.services.other.conversations import Conversation, Conversations, Message

blueprint = Blueprint("database", __name__, url_prefix="/api/database/conversations")
admin_blueprint = Blueprint("admin_database", __name__, url_prefix="/api/admin/keys")

_UNSTORED: Final = {"Cache-Control": "no-store"}
_IMAGE_HEADERS: Final = {
    "Cache-Control": "private, max-age=31536000, immutable",
    "Vary": "Accept",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'",
}


@blueprint.post("")
@tag(["conversations"])
@document_response(ConversationResponse, 201)
@validate_request(CreateConversationRequest)
async def create_conversation(data: CreateConversationRequest) -> ResponseReturnValue:
    """Begin a conversation.

    With messages or without. A title that is left out is made from the first message of a user, as soon as there is
    one. It belongs to the key that made it: for every other one it does not exist.
    """
    made, messages = await service(Conversations).create(g.principal.id, data)
    location = public_path(f"{blueprint.url_prefix}/{made.id}")
    return await _whole(made, messages), 201, {**_headers(made), "Location": location}


@blueprint.get("")
@tag(["conversations"])
@document_response(ConversationListResponse, 200)
@validate_querystring(ListConversationsQuery)
async def list_conversations(query_args: ListConversationsQuery) -> ResponseReturnValue:
    """List one's own conversations, the one that changed last first.

    A page at a time: `next`, unless it is `null`, is the next page's `after`. With `search` those in which one message,
    or the title, has all the words, by their newest match, and `match` shows where: whole words without regard to case,
    `"an exact phrase"`, or `begin*`.
    """
    listed, following = await service(Conversations).page(g.principal.id, query_args)
    return {"conversations": [each.shown() for each in listed], "next": following}, 200, _UNSTORED


@blueprint.get("/<conversation_id>")
@tag(["conversations"])
@document_response(ConversationResponse, 200)
@validate_querystring(ReadConversationQuery)
async def get_conversation(conversation_id: str, query_args: ReadConversationQuery) -> ResponseReturnValue:
    """Read a conversation, oldest message first.

    A reply whose `outcome` is not `done` was cut short: it is what had arrived. `ETag` is the version for `If-Match`.
    """
    conversations = service(Conversations)
    found, messages = await conversations.get(g.principal.id, conversation_id, replaced=query_args.replaced)
    return await _whole(found, messages), 200, _headers(found)


@blueprint.patch("/<conversation_id>")
@tag(["conversations"])
@document_headers(VersionHeaders)
@document_response(ConversationSummary, 200)
@validate_request(ChangeConversationRequest)
async def update_conversation(conversation_id: str, data: ChangeConversationRequest) -> ResponseReturnValue:
    """Give a conversation another title or model.

    With `If-Match` only if it is still at that version, else 412.
    """
    changed = await service(Conversations).update(g.principal.id, conversation_id, data, wanted_version())
    return changed.shown(), 200, _headers(changed)


@blueprint.delete("/<conversation_id>")
@tag(["conversations"])
@document_headers(VersionHeaders)
@document_media_types(204)
async def delete_conversation(conversation_id: str) -> Response:
    """Delete a conversation.

    With its messages, and the images that no other message shows; nothing of it stays. `If-Match` as for `PATCH`.
    """
    await service(Conversations).delete(g.principal.id, conversation_id, wanted_version())
    return no_content()


@admin_blueprint.delete("/<key_id>/conversations")
@tag(["conversations"])
@document_response(DeletedResponse, 200)
async def delete_conversations_of_key(key_id: str) -> ResponseReturnValue:
    """Delete every conversation of a key.

    Of one that was revoked too, whose conversations nobody can reach any more; `settings:NAME` for one of `API_KEYS`.
    """
    return {"deleted": await service(Conversations).delete_all(key_id)}


@blueprint.post("/<conversation_id>/append")
@tag(["conversations"])
@document_headers(VersionHeaders)
@document_response(AppendedResponse, 201)
@validate_request(AppendRequest)
async def append_messages(conversation_id: str, data: AppendRequest) -> ResponseReturnValue:
    """Put messages at the end, without asking a model.

    `If-Match` as for `PATCH`.
    """
    conversations = service(Conversations)
    grown, messages = await conversations.append(g.principal.id, conversation_id, data.messages, wanted_version())
    return await _shown(messages, version=grown.version), 201, _headers(grown)


@blueprint.post("/<conversation_id>/truncate")
@tag(["conversations"])
@document_headers(VersionHeaders)
@document_response(ConversationSummary, 200)
@validate_request(TruncateRequest)
async def truncate_conversation(conversation_id: str, data: TruncateRequest) -> ResponseReturnValue:
    """Delete the messages behind one.

    To say something again in another way: cut behind the reply before it, and ask anew. `If-Match` as for `PATCH`.
    """
    conversations = service(Conversations)
    shrunk = await conversations.truncate(g.principal.id, conversation_id, data.after, wanted_version())
    return shrunk.shown(), 200, _headers(shrunk)


@blueprint.get("/<conversation_id>/images/<image_hash>")
@tag(["conversations"])
@document_media_types(200, "image/png", "image/jpeg", "image/gif", "image/webp", BYTES)
async def get_image(conversation_id: str, image_hash: str) -> Response:
    """Fetch an image.

    One that a message of the conversation shows, by its SHA-256; it never changes, and may be cached. As
    `application/octet-stream` where `Accept` names that and no image.
    """
    media_type, data = await service(Conversations).image(g.principal.id, conversation_id, image_hash)
    return Response(data, content_type=_as_wanted(media_type), headers=_IMAGE_HEADERS)


def _as_wanted(media_type: str) -> str:
    accept = request.headers.get("Accept", "").lower()
    return BYTES if BYTES in accept and "image/" not in accept else media_type


async def _whole(conversation: Conversation, messages: Sequence[Message]) -> dict[str, Any] | Response:
    return await _shown(messages, **conversation.shown())


async def _shown(messages: Sequence[Message], **beside: Any) -> dict[str, Any] | Response:
    """An answer with messages; a large one is written beside the event loop."""
    size = sum(len(message.content) + len(message.thinking) for message in messages)
    if size <= LARGE:
        return {**beside, "messages": [message.shown() for message in messages]}
    return Response(await aside(size, _written, messages, beside), mimetype="application/json")


def _written(messages: Sequence[Message], beside: Mapping[str, Any]) -> bytes:
    parts = []
    for message in messages:
        parts.append(to_json(message.shown()))
        rest()
    return b'%b,"messages":[%b]}' % (to_json(beside)[:-1], b",".join(parts))


def _headers(conversation: Conversation) -> dict[str, str]:
    return {"ETag": etag(conversation.version), **_UNSTORED}
