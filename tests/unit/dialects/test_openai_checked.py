"""Bodies of OpenAI's and Anthropic's APIs as they reach the embedded engine: only what is named, within its bounds."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_backend.errors import BadRequest, Unsupported
from mlops_backend.services.llm.dialects.openai.checked import ROUTES, chat, completion, message, response
from mlops_backend.services.llm.dialects.openai.embeddings import native_reply, native_request
from mlops_backend.services.llm.dialects.openai.messages import Model

MODEL = Model("M", served="m")
HI = [{"role": "user", "content": "hi"}]
SAMPLED = {"temperature": 1.0, "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.1}
ALLOWED = {
    *SAMPLED,
    *("model", "messages", "input", "prompt", "system", "instructions", "stream", "stream_options", "max_tokens"),
    *("seed", "stop", "stop_sequences", "top_k", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs"),
    "response_format",
}


def test_a_chat_is_made_anew() -> None:
    """The engine's name for the model, Ollama's defaults for this API, and nothing that is not named."""
    body = {"model": "M", "messages": HI, "user": "u", "tool_choice": "auto", "repeat_last_n": 8193, "tools": []}
    assert chat(body, MODEL) == {**SAMPLED, "model": "m", "messages": HI, "stream": False}


def test_the_usage_of_a_stream_is_asked_for_if_the_client_does() -> None:
    """Only a stream has it, and only when it is true."""
    wanted = {"stream": True, "stream_options": {"include_usage": True, "x": 1}}
    assert chat({"messages": HI, **wanted}, MODEL)["stream_options"] == {"include_usage": True}
    assert "stream_options" not in chat({"messages": HI, **wanted, "stream": False}, MODEL)
    assert "stream_options" not in chat({"messages": HI, "stream": True}, MODEL)


@pytest.mark.parametrize(
    ("field", "sent"),
    [
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_completion_tokens": 2**31}, {"max_tokens": 2**31 - 1}),
        ({"max_tokens": -1}, {}),
        ({"stop": "end"}, {"stop": ["end"]}),
        ({"seed": 3}, {"seed": 3}),
        ({"temperature": 0}, {"temperature": 0}),
        ({"logprobs": True}, {"logprobs": True, "top_logprobs": 1}),
        ({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object", "schema": 3}}, {"response_format": {"type": "json_object"}}),
    ],
)
def test_fields_have_the_bounds_of_ollamas_options(field: dict[str, Any], sent: dict[str, Any]) -> None:
    """Each under the name that the engine knows."""
    plain = chat({"messages": HI}, MODEL)
    assert chat({"messages": HI, **field}, MODEL) == {**plain, **sent}


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"temperature": "hot"}, 'option "temperature" must be of type float32'),
        ({"max_tokens": "5"}, 'option "max_tokens" must be of type integer'),
        ({"stream": 1}, '"stream" must be a boolean'),
        ({"n": 2}, "n must be 1"),
        ({"top_logprobs": 21}, "between 0 and 20"),
        ({"response_format": {"type": "xml"}}, "format must be of type"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "with a schema"),
        ({"messages": []}, '"messages" must be an array'),
        ({"messages": [{"content": "x"}]}, "must have a role"),
        ({"messages": [{"role": "user", "content": 3}]}, '"content" must be an array'),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "must have a function"),
    ],
)
def test_a_wrong_field_is_named(field: dict[str, Any], words: str) -> None:
    """What the engine would answer with a 500, or not at all, is a 400 here."""
    with pytest.raises(BadRequest, match=words):
        chat({"messages": HI, **field}, MODEL)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"tools": [{"type": "function"}]}, '"M" does not support tools'),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, '"M" does not support images'),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "does not support content of type"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"schema": {"properties": {str(i): {} for i in range(501)}, "required": ["x"]}},
                }
            },
            "more optional properties",
        ),
    ],
)
def test_what_the_model_cannot_take_is_refused(field: dict[str, Any], words: str) -> None:
    """As Ollama refuses it, in the name that the client used."""
    with pytest.raises(Unsupported, match=words):
        chat({"messages": HI, **field}, MODEL)


def test_turns_of_a_chat_are_plain_text() -> None:
    """Parts become lines, the developer is the system, calls of tools keep their ids."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns = [
        {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None, "tool_calls": [call], "reasoning": "x"},
        {"role": "tool", "content": "rain", "tool_call_id": "c"},
    ]
    assert chat({"messages": turns}, MODEL)["messages"] == [
        {"role": "system", "content": "a\nb"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "rain", "tool_call_id": "c"},
    ]


def test_a_completion_has_one_prompt() -> None:
    """A text, or a list of one; a suffix needs a model that can insert."""
    assert completion({"prompt": ["hi"], "logprobs": 0}, MODEL).items() >= {"prompt": "hi", "logprobs": 1}.items()
    for wrong in ({"prompt": ["a", "b"]}, {"prompt": [[1]]}, {"prompt": "a", "logprobs": 99}):
        with pytest.raises(BadRequest):
            completion(wrong, MODEL)
    with pytest.raises(Unsupported, match="does not support insert"):
        completion({"prompt": "a", "suffix": "b"}, MODEL)


def test_items_of_a_response_are_what_the_engine_reads() -> None:
    """It wants types and states that the API lets clients leave out."""
    items = [
        {"role": "user", "content": "hi"},
        {"type": "reasoning", "summary": []},
        {"role": "assistant", "content": [{"type": "output_text", "text": "yo"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "id": "x"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "rain"}]},
    ]
    schema = {"type": "object"}
    asked = {"input": items, "max_output_tokens": 5, "instructions": "brief", "stream": True}
    made = response({**asked, "text": {"format": {"type": "json_schema", "schema": schema}}}, MODEL)
    answered = [{"type": "output_text", "text": "yo"}]
    assert made["input"] == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "message", "role": "assistant", "status": "completed", "content": answered},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "rain"},
    ]
    assert (made["max_tokens"], made["instructions"]) == (5, "brief")
    assert made["response_format"]["json_schema"]["schema"] == schema
    assert response({"input": "hi"}, MODEL)["input"] == "hi"


@pytest.mark.parametrize(
    "field",
    [{"previous_response_id": "r"}, {"conversation": "c"}, {"input": [{"type": "computer_call"}]}, {"input": 3}],
)
def test_a_response_that_needs_a_memory_is_refused(field: dict[str, Any]) -> None:
    """Nothing is kept, and an item that nobody reads is not passed over in silence."""
    with pytest.raises(BadRequest):
        response({"input": "hi", **field}, MODEL)


def test_messages_are_made_anew() -> None:
    """Blocks of text, of a tool's use and of its result; thoughts are dropped; `max_tokens` is needed."""
    blocks = [{"type": "thinking", "thinking": "x"}, {"type": "tool_use", "id": "a", "name": "f", "input": {"b": 1}}]
    result = {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "rain"}]}
    turns = [*HI, {"role": "assistant", "content": blocks}, {"role": "user", "content": [result]}]
    body = {"messages": turns, "max_tokens": 5, "system": [{"type": "text", "text": "brief"}], "metadata": {"x": 1}}
    assert message({**body, "stop_sequences": ["e"], "top_k": 3, "thinking": {"type": "enabled"}}, MODEL) == {
        "model": "m",
        "stream": False,
        "max_tokens": 5,
        "top_k": 3,
        "stop_sequences": ["e"],
        "system": "brief",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {"role": "assistant", "content": blocks[1:]},
            {"role": "user", "content": [{**result, "content": "rain"}]},
        ],
    }
    with pytest.raises(BadRequest, match="max_tokens is required"):
        message({"messages": HI}, MODEL)


def test_embeddings_are_packed_as_the_api_does() -> None:
    """Little-endian floats of four bytes in base64."""
    answer = {"embeddings": [[1.0, -2.0]], "prompt_eval_count": 3}
    assert native_reply(answer, "m", "base64")["data"][0]["embedding"] == "AACAPwAAAMA="
    assert native_reply(answer, "m", None) == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [1.0, -2.0]}],
        "model": "m",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    for wrong in ({}, {"input": ""}, {"input": [3]}, {"input": "x", "encoding_format": "int8"}):
        with pytest.raises(BadRequest):
            native_request(wrong)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "role"]), inner),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(
    path=st.sampled_from(sorted(ROUTES)),
    fields=st.dictionaries(st.sampled_from(sorted(ALLOWED | {"n", "tools"})), _JSON),
)
def test_any_body_is_made_anew_or_refused(path: str, fields: dict[str, Any]) -> None:
    """No body makes anything but a body of allowed fields, or an error of the client's."""
    body = {"messages": HI, "prompt": "hi", "input": "hi", "lora": [], "grammar": 'root ::= "x"', **fields}
    with suppress(BadRequest):
        made = ROUTES[path]({name: value for name, value in body.items() if value is not None}, MODEL)
        assert made.keys() <= ALLOWED
        assert json.loads(json.dumps(made)) == made


@pytest.mark.parametrize("count", [-1, 0, 1, 20, 21, True, "3"])
def test_a_completions_scores_have_bounds(count: Any) -> None:
    """As many as the engine gives, twenty among them; one at least, where any are asked for."""
    if type(count) is int and 0 <= count <= 20:
        assert completion({"prompt": "hi", "logprobs": count}, MODEL)["logprobs"] == max(1, count)
        return
    with pytest.raises(BadRequest, match="between 0 and 20"):
        completion({"prompt": "hi", "logprobs": count}, MODEL)
