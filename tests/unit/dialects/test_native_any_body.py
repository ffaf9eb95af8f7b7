"""Whatever is asked is carried or refused, and whatever an Ollama answers is translated or its failure."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_backend.errors import BackendFailed, BackendNonsense, BadRequest
from mlops_backend.services.llm.dialects import dumped
from mlops_backend.services.llm.dialects.native import MESSAGES_PATH, ROUTES, Carried

NAMES = st.sampled_from(
    [
        *("model", "messages", "role", "content", "type", "text", "image_url", "url", "source", "data", "id", "name"),
        *("tool_calls", "function", "arguments", "input", "tool_use_id", "tools", "input_schema", "system", "thinking"),
        *("stream", "stream_options", "include_usage", "stop", "stop_sequences", "max_tokens", "temperature", "prompt"),
        *("reasoning", "effort", "output_config", "response_format", "json_schema", "schema", "encoding_format"),
        *("output", "call_id", "summary", "instructions", "tool_choice", "format", "parameters", "max_output_tokens"),
        *("message", "done", "done_reason", "response", "embeddings", "eval_count", "logprobs", "error", "index"),
        *("partial", "namespace", "definition"),
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(["", "text", "image", "image_url", "tool_use", "tool_result", "base64", "{}", "data:;base64,AA"]),
    st.sampled_from(["assistant", "function_call", "custom_tool_call", "reasoning", "function", "custom", "namespace"]),
    st.sampled_from(["user", "tool", "json_object", "json_schema", "enabled", "high", "stop", "llama3"]),
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=8
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=5)
# So much that what is drawn beside it is reached.
SOUND: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
    "/v1/completions": {"model": "m", "prompt": "Hi"},
    "/v1/embeddings": {"model": "m", "input": "Hi"},
    MESSAGES_PATH: {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]},
    "/v1/responses": {"model": "m", "input": [{"role": "user", "content": "Hi"}]},
}
every_route = pytest.mark.parametrize("path", ROUTES)


def test_every_route_has_a_sound_body() -> None:
    """Which is carried, streamed too where there are streams."""
    for path, body in SOUND.items():
        assert ROUTES[path](body).path.startswith("/api/")
    assert SOUND.keys() == ROUTES.keys()


@every_route
@settings(max_examples=50)
@given(more=OBJECTS, in_a_message=OBJECTS, replaced=st.booleans())
def test_any_body_is_carried_or_refused(
    path: str, more: dict[str, Any], in_a_message: dict[str, Any], replaced: bool
) -> None:
    """What is carried can be written."""
    body = {**SOUND[path], **more}
    for turns in ("messages", "input"):
        if isinstance(SOUND[path].get(turns), list) and not replaced:
            body[turns] = [{"role": "user", **in_a_message}, {"role": "user", "content": [in_a_message]}]
    with suppress(BadRequest):
        assert dumped(ROUTES[path](body).body)


@every_route
@settings(max_examples=50)
@given(lines=st.lists(OBJECTS, max_size=2), message=OBJECTS)
def test_any_answer_is_translated_or_a_failure(path: str, lines: list[dict[str, Any]], message: dict[str, Any]) -> None:
    """Whole and in lines."""
    for told in (*lines, {"message": message, "response": "", "embeddings": [], "done": True}):
        with suppress(BackendNonsense):
            assert dumped(ROUTES[path](SOUND[path]).whole(told))
    made: Carried = ROUTES[path]({**SOUND[path], "stream": True, "stream_options": {"include_usage": True}})
    if made.translator is None:
        return
    translator = made.translator()
    with suppress(BackendFailed):
        for told in ({"message": message, "response": ""}, *lines):
            translator.feed(dumped(told) + b"\n")
        translator.end()
