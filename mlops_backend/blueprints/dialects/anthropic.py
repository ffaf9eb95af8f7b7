"""Anthropic's Messages API, as far as the backends serve it: bytes in, bytes out.

The routes and their bodies are Anthropic's (https://docs.anthropic.com/en/api/messages); what a backend lacks is its
own 404.
"""

from __future__ import annotations

from quart import Blueprint, Response
from quart_schema import tag

from mlops_backend.middleware.drop_in import as_response, asked_by, forward
from mlops_backend.middleware.request_context import record, service
from mlops_backend.openapi import SSE, document_relayed
from mlops_backend.services.llm import asked as tasks
from mlops_backend.services.llm.ollama_service import OllamaService

blueprint = Blueprint("anthropic", __name__, url_prefix="/v1/messages")


@blueprint.post("")
@tag(["anthropic"])
@document_relayed(
    {"model": "smollm2:135m", "max_tokens": 40, "messages": [{"role": "user", "content": "Name a colour."}]},
    "application/json",
    SSE,
)
async def create_message() -> Response:
    """Answer a conversation's last turn, as Anthropic does.

    Streamed as server-sent events when `stream` is true. An Ollama that is too old for it answers by its own chat.
    """
    return await forward(tasks.MESSAGES)


@blueprint.post("/count_tokens")
@tag(["anthropic"])
@document_relayed(
    {"model": "smollm2:135m", "max_tokens": 40, "messages": [{"role": "user", "content": "Name a colour."}]}
)
async def count_tokens() -> Response:
    """Count a message's tokens.

    Where the backend cannot, the count is an estimate by the length of the text; `X-Token-Count: estimated` says so.
    """
    asked = await asked_by(tasks.COUNT_TOKENS)
    return as_response(await service(OllamaService).count_tokens(asked, record()))
