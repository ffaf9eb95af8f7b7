"""Our own API to inference: Ollama's field names, our errors."""

from __future__ import annotations

from typing import Any

from quart import Blueprint, Response, g, request
from quart.typing import ResponseReturnValue
from quart_schema import document_response, tag, validate_request

from mlops_backend.middleware.request_context import record, service
from mlops_backend.middleware.stream_answer import stream_answer
from mlops_backend.openapi import NDJSON, SSE, document_asking, document_media_types
from mlops_backend.schemas.llm import (
    ChatRequest,
    ChatResponse,
    EmbedRequest,
    EmbedResponse,
    GenerateRequest,
    GenerateResponse,
    LlmHealthResponse,
    ModelsResponse,
    StreamResponse,
)
from mlops_backend.services.llm.backends import Operation
from mlops_backend.services.llm.ollama_service import OllamaService

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
@document_response(StreamResponse, 202)
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
@document_response(StreamResponse, 202)
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
@document_response(StreamResponse, 202)
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
@document_response(StreamResponse, 202)
@validate_request(EmbedRequest)
async def embed(data: EmbedRequest) -> Response:
    """Embed one text or several.

    Takes every field of Ollama's `/api/embed`.
    """
    return await _answer("embed", await request.get_json())


async def _answer(operation: Operation, body: dict[str, Any]) -> Response:
    return Response(await service(OllamaService).call(operation, body, record()), content_type="application/json")


async def _stream(operation: Operation, body: Any, *, default: str) -> Response:
    lines = await service(OllamaService).stream(operation, body, record())
    return stream_answer(lines, default=default, as_they_are=True)
