"""Checked bodies: what clients of OpenAI's and Anthropic's APIs may ask of the embedded engine, and nothing else.

llama.cpp reads about a hundred fields beyond those APIs, and some of them end it. So each body is made anew of the
fields named here, within the bounds that hold for Ollama's options. What has no meaning for the engine is left behind,
as Ollama leaves it; what it cannot do is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from mlops_backend.errors import BadRequest
from mlops_backend.services.llm.dialects.openai.bodies import flag
from mlops_backend.services.llm.dialects.openai.formats import checked_format
from mlops_backend.services.llm.dialects.openai.messages import Model, require, text_of
from mlops_backend.services.llm.dialects.openai.options import read_option, sampling
from mlops_backend.services.llm.dialects.openai.requests import CHAT_PATH, COMPLETION_PATH, top_logprobs
from mlops_backend.services.llm.dialects.openai.turns import chat_turns, message_turns, response_items, system_text

Body = dict[str, Any]
# The field's name -> the option of Ollama's whose bounds it has.
_SAMPLED: Final = {
    **{name: name for name in ("temperature", "top_p", "seed", "stop", "presence_penalty", "frequency_penalty")},
    "max_tokens": "num_predict",
    "max_completion_tokens": "num_predict",
    "max_output_tokens": "num_predict",
}
_SAMPLED_BY_MESSAGES: Final = {
    **{name: name for name in ("temperature", "top_p", "top_k")},
    "stop_sequences": "stop",
    "max_tokens": "num_predict",
}
# Ollama's for these APIs, where they differ from its own API's.
_DEFAULTS: Final = {"temperature": 1.0, "top_p": 1.0}
_MOST_SCORES: Final = 20


def chat(body: Body, model: Model) -> Body:
    """A body of `/v1/chat/completions`.

    Raises:
        Unsupported: images, tools or another thing that the model cannot take.
        BadRequest: a field of the wrong type or out of its bounds.
    """
    scores = {"logprobs": True, "top_logprobs": max(1, top_logprobs(body))} if _wants_scores(body) else {}
    return {
        **_common(body, model),
        **checked_format(body.get("response_format"), "json_schema", model),
        **scores,
        "messages": chat_turns(body.get("messages"), model),
    }


def completion(body: Body, model: Model) -> Body:
    """A body of `/v1/completions`; raises what `chat` raises."""
    if body.get("suffix"):
        require("insert", model, "insert")
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    fields = {**_common(body, model), "prompt": text_of(prompt, "prompt")}
    if (count := body.get("logprobs")) is not None:
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= _MOST_SCORES:
            raise BadRequest(f"logprobs must be between 0 and {_MOST_SCORES}")
        fields["logprobs"] = max(1, count)
    return fields


def response(body: Body, model: Model) -> Body:
    """A body of `/v1/responses`; raises what `chat` raises."""
    for name in ("previous_response_id", "conversation"):
        if body.get(name):
            raise BadRequest(f'the field "{name}" is not supported: no answer is kept here')
    text = body.get("text")
    form = text.get("format") if isinstance(text, Mapping) else None
    fields = {
        **_common(body, model),
        **checked_format(form, "", model),
        "input": response_items(body.get("input"), model),
    }
    fields.pop("stream_options", None)
    instructions = text_of(body.get("instructions"), "instructions")
    return {**fields, "instructions": instructions} if instructions else fields


def message(body: Body, model: Model) -> Body:
    """A body of `/v1/messages`; raises what `chat` raises."""
    fields = {**_sampled(body, _SAMPLED_BY_MESSAGES), **counted(body, model)}
    if "max_tokens" not in fields:
        raise BadRequest("max_tokens is required and must be positive")
    return {**fields, "stream": flag(body, "stream", default=False)}


def counted(body: Body, model: Model) -> Body:
    """A body of `/v1/messages/count_tokens`; raises what `chat` raises."""
    _refuse_tools(body, model)
    system = system_text(body.get("system"))
    fields = {"model": model.sent, "messages": message_turns(body.get("messages"), model)}
    return {**fields, "system": system} if system else fields


ROUTES: Final[Mapping[str, Callable[[Body, Model], Body]]] = {
    CHAT_PATH: chat,
    COMPLETION_PATH: completion,
    "/v1/responses": response,
    "/v1/messages": message,
    "/v1/messages/count_tokens": counted,
}


def _common(body: Body, model: Model) -> Body:
    if body.get("n", 1) != 1:
        raise BadRequest("n must be 1: this backend gives one answer to a request")
    _refuse_tools(body, model)
    streamed = flag(body, "stream", default=False)
    fields: Body = {**sampling({}), **_DEFAULTS, **_sampled(body, _SAMPLED), "model": model.sent, "stream": streamed}
    options = body.get("stream_options")
    if streamed and isinstance(options, Mapping) and options.get("include_usage"):
        fields["stream_options"] = {"include_usage": True}
    return fields


def _sampled(body: Body, names: Mapping[str, str]) -> Body:
    fields: Body = {}
    for name, option in names.items():
        if name in body:
            fields.update(read_option(option, name, body[name]))
    return fields


def _refuse_tools(body: Body, model: Model) -> None:
    if body.get("tools"):
        require("tools", model, "tools")


def _wants_scores(body: Body) -> bool:
    return flag(body, "logprobs", default=False) or top_logprobs(body) > 0
