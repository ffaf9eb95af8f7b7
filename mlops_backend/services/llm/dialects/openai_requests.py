"""Requests: Ollama's bodies as bodies of the OpenAI API that llama.cpp's server speaks.

Only the fields named here are translated; every other one is left behind. Ollama itself ignores what it does not
know, while llama.cpp reads about a hundred more (`n`, `samplers`, `response_fields`, `grammar`, `id_slot`, `lora` …):
a client that could set those could break the stream's shape, ask for many answers at once, or end the engine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from mlops_backend.errors import BadRequest, Unsupported
from mlops_backend.services.llm.dialects.openai_messages import Model, require, text_of, turn_of
from mlops_backend.services.llm.dialects.openai_options import sampling

CHAT_PATH: Final = "/v1/chat/completions"
COMPLETION_PATH: Final = "/v1/completions"
EMBED_PATH: Final = "/v1/embeddings"
_ZERO_DURATION: Final = re.compile(r"[-+]?0+(\.0*)?(ns|us|µs|ms|s|m|h)?")

Body = Mapping[str, Any]


def chat_request(body: Body, model: Model) -> dict[str, Any]:
    """An `/api/chat` body as one of `/v1/chat/completions`.

    Raises:
        Unsupported: images, tools or thinking that the model cannot take.
        BadRequest: a field of the wrong type.
    """
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise BadRequest('the field "messages" must be an array')
    fields = {**_common(body, model), **_response_format(body.get("format")), **_chat_logprobs(body)}
    if tools := body.get("tools"):
        require("tools", model, "tools")
        fields["tools"] = tools
    return {**fields, "messages": [turn_of(message, model) for message in messages]}


def generate_request(body: Body, model: Model) -> tuple[str, dict[str, Any]]:
    """An `/api/generate` body as a path and a body: a conversation of one turn, or with `raw` a bare completion.

    Raises:
        Unsupported: what the model or this engine cannot take.
        BadRequest: a field of the wrong type, or one that `raw` excludes.
    """
    raw = bool(body.get("raw"))
    _refuse_templates(body, model, raw)
    if raw:
        return COMPLETION_PATH, _completion(body, model)
    turns: list[dict[str, Any]] = [{"role": "system", "content": body["system"]}] if body.get("system") else []
    turns.append({"role": "user", "content": body.get("prompt"), "images": body.get("images")})
    return CHAT_PATH, chat_request({**body, "messages": turns, "tools": None}, model)


def embed_request(body: Body, model: Model) -> dict[str, Any]:
    """An `/api/embed` body as one of `/v1/embeddings`.

    Raises:
        BadRequest: `input` is neither text nor a list of texts.
    """
    return {"model": model.name, "input": embed_input(body), "encoding_format": "float"}


def embed_input(body: Body) -> list[str]:
    """The texts to embed; no text at all asks only to load the model.

    Raises:
        BadRequest: `input` is neither text nor a list of texts.
    """
    texts = body.get("input")
    if texts is None or texts == "":
        return []
    if isinstance(texts, str):
        return [texts]
    if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
        return texts
    raise BadRequest("invalid input type")


def dimensions(body: Body) -> int:
    """To how many numbers a vector is cut; 0: not at all.

    Raises:
        BadRequest: it is not a whole number.
    """
    count = body.get("dimensions") or 0
    if isinstance(count, bool) or not isinstance(count, int):
        raise BadRequest('the field "dimensions" must be an integer')
    return max(0, count)


def load_reason(operation: Literal["generate", "chat"], body: Body) -> str:
    """`load` or `unload` when the body asks for nothing else (no prompt, no message), else an empty text."""
    if body.get("prompt" if operation == "generate" else "messages"):
        return ""
    kept = body.get("keep_alive")
    if isinstance(kept, str):
        return "unload" if _ZERO_DURATION.fullmatch(kept) else "load"
    return "unload" if kept == 0 and kept is not False else "load"


def top_logprobs(body: Body) -> int:
    """How many alternatives of each token the client wants to see, 0 to 20.

    Raises:
        BadRequest: another number, or none.
    """
    count = body.get("top_logprobs") or 0
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= 20:
        raise BadRequest("top_logprobs must be between 0 and 20")
    return count


def _refuse_templates(body: Body, model: Model, raw: bool) -> None:
    if body.get("suffix"):
        require("insert", model, "insert")
    for name in ("system", "template", "context"):
        if raw and body.get(name):
            raise BadRequest("raw mode does not support template, system, or context")
    for name in ("template", "context", "suffix"):
        if body.get(name):
            raise Unsupported(f'the field "{name}" is not supported by this backend: it applies its own template')


def _completion(body: Body, model: Model) -> dict[str, Any]:
    """A bare completion: the prompt as it stands, no template."""
    if body.get("images"):
        raise Unsupported('the field "images" is not supported in raw mode by this backend')
    fields = _common(body, model)
    if (schema := _schema(body.get("format"))) is not None:
        fields["json_schema"] = schema
    if _wants_logprobs(body):
        fields["logprobs"] = max(1, top_logprobs(body))
    return {**fields, "prompt": text_of(body.get("prompt"), "prompt")}


def _common(body: Body, model: Model) -> dict[str, Any]:
    if body.get("think"):
        require("thinking", model, "thinking")
    fields: dict[str, Any] = {"model": model.name, **sampling(body.get("options")), "stream": bool(body.get("stream"))}
    return {**fields, "stream_options": {"include_usage": True}} if fields["stream"] else fields


def _wants_logprobs(body: Body) -> bool:
    return bool(body.get("logprobs")) or top_logprobs(body) > 0


def _chat_logprobs(body: Body) -> dict[str, Any]:
    """The engine computes none at all when it is asked for none of the alternatives."""
    return {"logprobs": True, "top_logprobs": max(1, top_logprobs(body))} if _wants_logprobs(body) else {}


def _schema(form: Any) -> Mapping[str, Any] | None:
    if form is None or form == "":
        return None
    if form == "json":
        return {"type": "object"}
    if isinstance(form, Mapping):
        return form
    raise BadRequest(f'invalid format: {json.dumps(form)[:100]}; expected "json" or a valid JSON Schema object')


def _response_format(form: Any) -> dict[str, Any]:
    schema = _schema(form)
    if schema is None:
        return {}
    if form == "json":
        return {"response_format": {"type": "json_object"}}
    described = {"name": "format", "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": described}}
