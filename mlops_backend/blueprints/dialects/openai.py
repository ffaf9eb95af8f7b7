"""OpenAI's API, as far as the backends serve it: bytes in, bytes out.

The routes and their bodies are OpenAI's (https://platform.openai.com/docs/api-reference); what a backend lacks is its
own 404.
"""

from __future__ import annotations

from typing import Final

from quart import Blueprint, Response
from quart_schema import tag

from mlops_backend.middleware.drop_in import answer, body, client_headers, forward, route, segment
from mlops_backend.middleware.form_fields import single_field
from mlops_backend.openapi import SSE, document_relayed, document_sent
from mlops_backend.services.llm import asked as tasks
from mlops_backend.services.llm.asked import Asked

blueprint = Blueprint("openai", __name__, url_prefix="/v1")

_SOUND: Final = {
    "type": "object",
    "properties": {"file": {"type": "string", "format": "binary"}, "model": {"type": "string"}},
    "required": ["file", "model"],
}


@blueprint.post("/chat/completions")
@tag(["openai"])
@document_relayed(
    {"model": "smollm2:135m", "messages": [{"role": "user", "content": "Name a colour."}]}, "application/json", SSE
)
async def complete_chat() -> Response:
    """Continue a conversation, as OpenAI does.

    Streamed as server-sent events when `stream` is true.
    """
    return await forward(tasks.OPENAI_GENERATE)


@blueprint.post("/completions")
@tag(["openai"])
@document_relayed({"model": "smollm2:135m", "prompt": "The sky is", "max_tokens": 20}, "application/json", SSE)
async def complete_text() -> Response:
    """Complete a prompt, as OpenAI does.

    Streamed as server-sent events when `stream` is true.
    """
    return await forward(tasks.OPENAI_GENERATE)


@blueprint.post("/embeddings")
@tag(["openai"])
@document_relayed({"model": "smollm2:135m", "input": ["The sky is blue."]})
async def create_embeddings() -> Response:
    """Embed one text or several, as OpenAI does.

    Vectors of numbers, or of base64 with `encoding_format`.
    """
    return await forward(tasks.OPENAI_CALL)


@blueprint.get("/models")
@tag(["openai"])
@document_relayed()
async def list_openai_models() -> Response:
    """List the models, as OpenAI does.

    Those of all backends together.
    """
    return await forward(tasks.READ)


@blueprint.get("/models/<path:model>")
@tag(["openai"])
@document_relayed()
async def get_openai_model(model: str) -> Response:
    """Describe one model, as OpenAI does.

    The first backend that has it is asked.
    """
    path = f"/v1/models/{segment(model)}"
    return await answer(Asked(tasks.OPENAI_READ, "GET", path, client_headers(), None, model, (model,)))


@blueprint.post("/audio/transcriptions")
@tag(["openai"])
@document_sent("multipart/form-data", _SOUND)
@document_relayed(None, "application/json", "text/plain", SSE)
async def transcribe() -> Response:
    """Write down what is said in a sound file.

    Sent as a form, with `file` and `model`; a backend that is too old says 404. Streamed as server-sent events when
    `stream` is true and the backend can.
    """
    form = await body()
    field = single_field(form, "model")
    model, at = (field.value, field.at) if field is not None and field.value else ("", None)
    named = (model,) if model else ()
    task = tasks.TRANSCRIBE
    asked = Asked(task, "POST", route(), client_headers(), form, model, named, ending=task.ending, model_at=at)
    return await answer(asked)
