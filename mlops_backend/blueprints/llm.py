"""Our own API to inference: Ollama's field names, our errors."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from quart import Blueprint, Response, g, request
from quart.typing import ResponseReturnValue
from quart_schema import document_response, tag, validate_request
from werkzeug.exceptions import MethodNotAllowed

from mlops_backend.aside import aside
from mlops_backend.errors import Forbidden
from mlops_backend.middleware.asgi import Scope as ASGIScope
from mlops_backend.middleware.body_limit import body_of
from mlops_backend.middleware.json_body import parse_json
from mlops_backend.middleware.no_content import no_content
from mlops_backend.middleware.request_context import record, service
from mlops_backend.middleware.root_path import public_path
from mlops_backend.middleware.stream_answer import stream_answer
from mlops_backend.openapi import NDJSON, SSE, document_asking, document_media_types, document_open
from mlops_backend.principal import Scope
from mlops_backend.schemas.llm import (
    ChatRequest,
    ChatResponse,
    EmbedRequest,
    EmbedResponse,
    GenerateRequest,
    GenerateResponse,
    LlmHealthResponse,
    ModelsResponse,
    StreamRequest,
    StreamTicketResponse,
)
from mlops_backend.services.llm.backends import Operation
from mlops_backend.services.llm.ollama_service import OllamaService
from mlops_backend.services.llm.streams import StreamDesk
from mlops_backend.services.other.keys import KeyCache

blueprint = Blueprint("llm", __name__, url_prefix="/api/llm")


@blueprint.get("/health")
@tag(["llm"])
@document_response(LlmHealthResponse, 503)
@document_response(LlmHealthResponse, 200)
async def check_backends() -> ResponseReturnValue:
    """Say how each backend is.

    `healthy` when all answer, `degraded` when some do; `unhealthy`, with status 503, when none does.
    """
    health = await service(OllamaService).health(g.principal)
    return health, 503 if health["status"] == "unhealthy" else 200


@blueprint.get("/models")
@tag(["llm"])
@document_response(ModelsResponse, 200)
async def list_models() -> ResponseReturnValue:
    """List the models.

    What Ollama's `/api/tags` says, merged over the backends, with `count`. When a backend does not answer, `partial`
    is true and `unreachable` names it.
    """
    return await service(OllamaService).models(g.principal)


@blueprint.post("/generate")
@tag(["llm"])
@document_asking
@document_response(GenerateResponse, 200)
@validate_request(GenerateRequest)
async def generate(data: GenerateRequest) -> Response:
    """Complete a prompt, answered whole.

    Takes every field of Ollama's `/api/generate`; unknown ones are passed on. Durations are nanoseconds.
    """
    return await _answer("generate", await request.get_json())


@blueprint.post("/stream")
@tag(["llm"])
@document_asking
@document_media_types(200, NDJSON, SSE)
@document_response(GenerateResponse, 200)
@validate_request(GenerateRequest)
async def stream(data: GenerateRequest) -> Response:
    """Complete a prompt, streamed.

    One JSON object a line, or one event each when `Accept` names `text/event-stream`. The last one has `done: true`
    and the counts; a stream that fails ends with an object that has `error` and `code`.
    """
    return await _stream("generate", await request.get_json(), default=NDJSON)


@blueprint.post("/chat")
@tag(["llm"])
@document_asking
@document_media_types(200, "application/json", NDJSON, SSE)
@document_response(ChatResponse, 200)
@validate_request(ChatRequest)
async def chat(data: ChatRequest) -> Response:
    """Continue a conversation.

    Takes every field of Ollama's `/api/chat`. Answered whole, or streamed as `/stream` does when `stream` is true.
    """
    body = await request.get_json()
    return await (_stream("chat", body, default=NDJSON) if data.stream else _answer("chat", body))


@blueprint.post("/embed")
@tag(["llm"])
@document_asking
@document_response(EmbedResponse, 200)
@validate_request(EmbedRequest)
async def embed(data: EmbedRequest) -> Response:
    """Embed one text or several.

    Takes every field of Ollama's `/api/embed`.
    """
    return await _answer("embed", await request.get_json())


@blueprint.post("/streams")
@tag(["llm"])
@document_response(StreamTicketResponse, 201)
@validate_request(StreamRequest)
async def create_stream(data: StreamRequest) -> ResponseReturnValue:
    """Prepare a stream for a browser's `EventSource`.

    Takes a body of `/stream`, or one of `/chat` (with `messages`), of 8 MiB at most. The answer's `url` needs no key,
    works once, and only until `expires_at`. It counts as a request of its key now, and not again when it is fetched.
    """
    desk = service(StreamDesk)
    await desk.check(g.principal)
    body = cast(bytes, await request.get_data(as_text=False))
    record().answer_headers = await service(OllamaService).count_request(g.principal, record().end_user)
    body_of(cast(ASGIScope, request.scope)).let_go()  # it is counted as the ticket's from here on
    ticket = await desk.issue(data.operation, body, g.principal, record().end_user)
    url = public_path(f"/api/llm/streams/{ticket.id}")
    expires_at = datetime.fromtimestamp(ticket.expires_at, UTC).isoformat(timespec="seconds")
    return {"id": ticket.id, "url": url, "expires_at": expires_at}, 201, {"Location": url}


@blueprint.get("/streams/<ticket_id>")
@tag(["llm"])
@document_asking
@document_open
@document_media_types(200, SSE, NDJSON)
@document_response(GenerateResponse, 200)
@document_media_types(204)
async def fetch_stream(ticket_id: str) -> Response:
    """Start and stream what was prepared, once.

    Server-sent events, or one JSON object a line when `Accept` names `application/x-ndjson`. Fetched again it answers
    204, which tells `EventSource` to stop. 403 when the key that prepared it may not start it any more.
    """
    if request.method != "GET":
        raise MethodNotAllowed(valid_methods=["GET", "OPTIONS"])
    ticket = await service(StreamDesk).redeem(ticket_id)
    if ticket is None:
        return no_content({"Cache-Control": "no-store"})
    noted = record()
    noted.caller, noted.generates, noted.end_user = ticket.principal, True, ticket.end_user
    owner = service(KeyCache).current(ticket.principal)
    if owner is None or not owner.has(Scope.INFERENCE):
        raise Forbidden("The key that this stream was prepared with may not start it any more.")
    # It was counted among its key's requests when it was prepared.
    noted.caller = owner.limited(lambda limits: replace(limits, requests=None))
    body = await aside(len(ticket.body), parse_json, ticket.body)
    return await _stream(ticket.operation, body, default=SSE)


async def _answer(operation: Operation, body: dict[str, Any]) -> Response:
    return Response(await service(OllamaService).call(operation, body, record()), content_type="application/json")


async def _stream(operation: Operation, body: Any, *, default: str) -> Response:
    lines = await service(OllamaService).stream(operation, body, record())
    return stream_answer(lines, default=default, as_they_are=True)
