"""Requests: bodies of OpenAI's routes as bodies of Ollama's own, which take a context and a time to stay loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from mlops_backend.errors import BadRequest
from mlops_backend.services.llm.dialects.native.carried import NO_EFFORTS, Carried, without_nothing
from mlops_backend.services.llm.dialects.native.fields import Fields
from mlops_backend.services.llm.dialects.native.messages import native_messages
from mlops_backend.services.llm.dialects.native.of_messages import MESSAGES_PATH, messages
from mlops_backend.services.llm.dialects.native.of_responses import responses
from mlops_backend.services.llm.dialects.native.options import (
    chat_options,
    completion_options,
    native_format,
    native_think,
)
from mlops_backend.services.llm.dialects.native.replies import chat_reply, completion_reply, embeddings_reply
from mlops_backend.services.llm.dialects.native.shapes import CHAT, COMPLETION
from mlops_backend.services.llm.dialects.native.stream import EventTranslator
from mlops_backend.services.llm.dialects.openai import RESPONSES_PATH

_ENCODINGS: Final = ("float", "base64")


def chat(body: Mapping[str, Any]) -> Carried:
    """`/v1/chat/completions` over `/api/chat`.

    Raises:
        BadRequest: what Ollama refuses, in its words.
    """
    request = Fields(body, "ChatCompletionRequest")
    model, (streamed, wants_usage) = request.text("model"), _streamed(request)
    if not request.items("messages", "openai.Message"):
        raise BadRequest("[] is too short - 'messages'")
    made = {
        "model": model,
        "messages": native_messages(request),
        "stream": streamed,
        "format": native_format(request),
        "tools": request.items("tools", "api.Tool"),
        "think": native_think(request),
        "options": chat_options(request),
        **_scores(request.any("logprobs") is True, request.any("top_logprobs")),
    }
    translator = partial(EventTranslator, CHAT, wants_usage=wants_usage) if streamed else None
    return Carried("/api/chat", without_nothing(made), chat_reply, translator, (NO_EFFORTS,))


def completion(body: Mapping[str, Any]) -> Carried:
    """`/v1/completions` over `/api/generate`; raises what `chat` raises."""
    request = Fields(body, "CompletionRequest")
    streamed, wants_usage = _streamed(request)
    top = request.any("logprobs")
    made = {
        "model": request.text("model"),
        "prompt": request.text("prompt"),
        "suffix": request.text("suffix") or None,
        "stream": streamed,
        "options": completion_options(request),
        **_scores(type(top) is int and top > 0, top),
    }
    translator = partial(EventTranslator, COMPLETION, wants_usage=wants_usage) if streamed else None
    return Carried("/api/generate", without_nothing(made), completion_reply, translator)


def embeddings(body: Mapping[str, Any]) -> Carried:
    """`/v1/embeddings` over `/api/embed`; raises what `chat` raises."""
    request = Fields(body, "EmbedRequest")
    model, encoding, given = request.text("model"), request.text("encoding_format"), request.any("input")
    if encoding and encoding.lower() not in _ENCODINGS:
        message = f"Invalid value for 'encoding_format' = {encoding[:100]}. Supported values: ['float', 'base64']."
        raise BadRequest(message)
    if given is None or given == []:
        raise BadRequest("invalid input")
    made = {"model": model, "input": [""] if given == "" else given, "dimensions": request.whole_number("dimensions")}

    def whole(told: Mapping[str, Any]) -> dict[str, Any]:
        return embeddings_reply(told, model, encoding.lower())

    return Carried("/api/embed", without_nothing(made), whole)


ROUTES: Final[Mapping[str, Callable[[Mapping[str, Any]], Carried]]] = {
    "/v1/chat/completions": chat,
    "/v1/completions": completion,
    "/v1/embeddings": embeddings,
    MESSAGES_PATH: messages,
    RESPONSES_PATH: responses,
}


def _streamed(request: Fields) -> tuple[bool, bool]:
    """Whether the answer is streamed, and whether its usage is wanted then."""
    options = request.inner("stream_options", "openai.StreamOptions")
    return request.flag("stream"), options is not None and options.flag("include_usage")


def _scores(are_wanted: bool, top: Any) -> dict[str, Any]:
    if not are_wanted:
        return {}
    return {"logprobs": True, "top_logprobs": top if type(top) is int and top > 0 else None}
