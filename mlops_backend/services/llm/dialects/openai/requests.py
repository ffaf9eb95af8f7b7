"""Requests: Ollama's bodies as bodies of the OpenAI API, as llama.cpp's server and others speak it.

Only the fields named here are translated; every other one is left behind. Ollama itself ignores what it does not
know, while llama.cpp reads about a hundred more: a client that could set those could break the stream's shape, ask for
many answers at once, or end the engine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from mlops_backend.errors import BadRequest, Unsupported
from mlops_backend.services.llm.dialects.openai.formats import response_format, schema_of
from mlops_backend.services.llm.dialects.openai.history import in_order
from mlops_backend.services.llm.dialects.openai.messages import Model, require, text_of, turn_of
from mlops_backend.services.llm.dialects.openai.options import sampling
from mlops_backend.services.llm.dialects.openai.tools import tool_choice, tool_list

CHAT_PATH: Final = "/v1/chat/completions"
COMPLETION_PATH: Final = "/v1/completions"
EMBED_PATH: Final = "/v1/embeddings"
LEVELS: Final = ("high", "medium", "low", "max")
# What llama.cpp's server says in `owned_by`; its completions know a schema by another name than its chats.
LLAMA_CPP: Final = "llamacpp"
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
    fields = {**_common(body, model), **response_format(body.get("format"), model), **_chat_logprobs(body)}
    fields |= _thinking(body.get("think"), model)
    if tools := body.get("tools"):
        require("tools", model, "tools")
        fields["tools"] = tool_list(tools, as_they_are=model.llama_cpp)
        fields |= tool_choice(body, as_it_is=model.llama_cpp)
    return {**fields, "messages": in_order([turn_of(message, model) for message in messages])}


def generate_request(body: Body, model: Model) -> tuple[str, dict[str, Any]]:
    """An `/api/generate` body as a path and a body: a conversation of one turn, or with `raw` or `suffix` a completion.

    Raises:
        Unsupported: what the model or this engine cannot take.
        BadRequest: a field of the wrong type, or one that `raw` excludes.
    """
    raw = bool(body.get("raw"))
    _refuse_templates(body, model, raw)
    if raw or body.get("suffix"):
        return COMPLETION_PATH, _completion(body, model)
    turns: list[dict[str, Any]] = [{"role": "system", "content": body["system"]}] if body.get("system") else []
    turns.append({"role": "user", "content": body.get("prompt"), "images": body.get("images")})
    return CHAT_PATH, chat_request({**body, "messages": turns, "tools": None}, model)


def embed_request(body: Body, model: Model) -> dict[str, Any]:
    """An `/api/embed` body as one of `/v1/embeddings`.

    Raises:
        BadRequest: `input` is neither text nor a list of texts.
    """
    return {"model": model.sent, "input": embed_input(body), "encoding_format": "float"}


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
    for name in ("template", "context"):
        if body.get(name):
            raise Unsupported(f'the field "{name}" is not supported by this backend: it applies its own template')


def _completion(body: Body, model: Model) -> dict[str, Any]:
    """A bare completion: the prompt as it stands, no template."""
    if body.get("images"):
        raise Unsupported('the field "images" is not supported in raw mode by this backend')
    fields = _common(body, model)
    schema = schema_of(body.get("format"), model)
    if schema is not None and (model.llama_cpp or model.owner == LLAMA_CPP):
        fields["json_schema"] = schema
    elif schema is not None:
        fields |= response_format(body.get("format"), model)
    if suffix := text_of(body.get("suffix"), "suffix"):
        fields["suffix"] = suffix
    if _wants_logprobs(body):
        fields["logprobs"] = max(1, top_logprobs(body))
    return {**fields, "prompt": text_of(body.get("prompt"), "prompt")}


def _common(body: Body, model: Model) -> dict[str, Any]:
    if body.get("think"):
        require("thinking", model, "thinking")
    sampled = sampling(body.get("options"), llama_cpp=model.llama_cpp, context=model.context)
    fields: dict[str, Any] = {"model": model.sent, **sampled, "stream": bool(body.get("stream"))}
    return {**fields, "stream_options": {"include_usage": True}} if fields["stream"] else fields


def _thinking(think: Any, model: Model) -> dict[str, Any]:
    """Whether, or how hard, the model is to think; for one that does not there is nothing to say."""
    if think in (None, "") or "thinking" not in model.capabilities:
        return {}
    if isinstance(think, bool):
        return {"chat_template_kwargs": {"enable_thinking": think}}
    if think in LEVELS:
        return {"reasoning_effort": think}
    expected = '(must be "high", "medium", "low", "max", true, or false)'
    raise BadRequest(f"invalid think value: {json.dumps(think)[:100]} {expected}")


def _wants_logprobs(body: Body) -> bool:
    return bool(body.get("logprobs")) or top_logprobs(body) > 0


def _chat_logprobs(body: Body) -> dict[str, Any]:
    """The engine computes none at all when it is asked for none of the alternatives."""
    return {"logprobs": True, "top_logprobs": max(1, top_logprobs(body))} if _wants_logprobs(body) else {}
