"""Embeddings: `/v1/embeddings` served by what serves Ollama's `/api/embed`, which cuts what is too long."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from mlops_backend.errors import BadRequest
from mlops_backend.services.llm.dialects.openai.requests import embed_input


def native_request(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body of `/v1/embeddings` as one of `/api/embed`.

    Raises:
        BadRequest: no text to embed, or a form that the API does not know.
    """
    if not embed_input(body):
        raise BadRequest("invalid input")
    if body.get("encoding_format") not in (None, "float", "base64"):
        raise BadRequest('encoding_format must be "float" or "base64"')
    return {name: body[name] for name in ("model", "input", "dimensions") if name in body}


def native_reply(answer: Mapping[str, Any], model: str, encoding: Any) -> dict[str, Any]:
    """The answer of `/api/embed` as one of `/v1/embeddings`."""
    count = answer["prompt_eval_count"]
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if encoding == "base64" else vector}
        for index, vector in enumerate(answer["embeddings"])
    ]
    usage = {"prompt_tokens": count, "total_tokens": count}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
