"""Ollama's request bodies in the words of llama.cpp's OpenAI API."""

import json
import math
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_backend.errors import BadRequest, Unsupported
from mlops_backend.services.llm.dialects.openai.messages import Model
from mlops_backend.services.llm.dialects.openai.options import sampling
from mlops_backend.services.llm.dialects.openai.requests import (
    CHAT_PATH,
    COMPLETION_PATH,
    chat_request,
    dimensions,
    embed_request,
    generate_request,
    load_reason,
    top_logprobs,
)

PLAIN = Model("m")
ABLE = Model("m", frozenset({"completion", "tools", "vision", "thinking"}))
USER = {"role": "user", "content": "hi"}
DEFAULTS = {"top_p": 0.9, "min_p": 0.0, "repeat_penalty": 1.1}


def _chat(model: Model = PLAIN, **fields: Any) -> dict[str, Any]:
    return chat_request({"model": "m", "messages": [USER], **fields}, model)


def _generate(model: Model = PLAIN, **fields: Any) -> tuple[str, dict[str, Any]]:
    return generate_request({"model": "m", "prompt": "hi", **fields}, model)


def test_a_conversation_is_passed_on_with_ollamas_defaults() -> None:
    """Messages go as they are, and sampling starts from Ollama's defaults, not from llama.cpp's."""
    assert _chat() == {"model": "m", **DEFAULTS, "stream": False, "messages": [USER]}


def test_a_stream_asks_for_its_usage() -> None:
    """Only with `include_usage` does the last event hold the counts."""
    streamed = _chat(stream=True)
    assert streamed["stream"] is True
    assert streamed["stream_options"] == {"include_usage": True}


def test_a_prompt_becomes_one_turn_behind_its_system_text() -> None:
    """`generate` goes through the template as Ollama's does: as a conversation."""
    path, body = _generate(system="be brief")
    assert path == CHAT_PATH
    assert body["messages"] == [{"role": "system", "content": "be brief"}, USER]
    assert _generate()[1]["messages"] == [USER]


def test_a_raw_prompt_is_a_bare_completion() -> None:
    """With `raw` no template is applied, and a schema goes where completions have it."""
    path, body = _generate(raw=True, logprobs=True, stream=True)
    assert path == COMPLETION_PATH
    assert body["prompt"] == "hi"
    assert body["logprobs"] == 1
    assert "messages" not in body


@pytest.mark.parametrize("model", [PLAIN, Model("m", llama_cpp=False, owner="llamacpp")], ids=["embedded", "server"])
def test_a_bare_completion_of_llama_cpp_has_its_own_field(model: Model) -> None:
    """Its server does not look at `response_format` there."""
    assert _generate(model, raw=True, format="json")[1]["json_schema"] == {"type": "object"}
    assert _generate(Model("m", llama_cpp=False), raw=True, format="json")[1]["response_format"]


@pytest.mark.parametrize("name", ["system", "template", "context"])
def test_raw_excludes_what_a_template_would_need(name: str) -> None:
    """Raw mode refuses template, system and context with Ollama's sentence."""
    with pytest.raises(BadRequest, match="raw mode does not support template, system, or context"):
        _generate(PLAIN, raw=True, **{name: [1] if name == "context" else "x"})


@pytest.mark.parametrize(("name", "value"), [("template", "{{ .Prompt }}"), ("context", [1, 2])])
def test_a_template_or_a_context_is_refused_by_name(name: str, value: Any) -> None:
    """The engine applies its own template: the refusal names the field."""
    with pytest.raises(Unsupported, match=f'the field "{name}" is not supported'):
        _generate(**{name: value})


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ({"num_predict": 5}, {"max_tokens": 5}),
        ({"num_predict": 5.9}, {"max_tokens": 5}),
        ({"num_predict": 0}, {}),
        ({"num_predict": -1}, {}),
        ({"num_predict": 2**31}, {"max_tokens": 2**31 - 1}),
        ({"seed": 7.0}, {"seed": 7}),
        ({"seed": -1}, {}),
        ({"stop": "end"}, {"stop": ["end"]}),
        ({"stop": ["a", "", "b"]}, {"stop": ["a", "b"]}),
        ({"stop": [""]}, {}),
        ({"stop": ["a" * 1000]}, {"stop": ["a" * 1000]}),
        ({"num_predict": 1}, {"max_tokens": 1}),
        ({"temperature": 0}, {"temperature": 0}),
        ({"top_p": 0.5, "min_p": 0.1}, {"top_p": 0.5, "min_p": 0.1}),
        ({"repeat_penalty": 1.3}, {"repeat_penalty": 1.3}),
        ({"top_k": 10.2, "typical_p": 0.9}, {"top_k": 10, "typical_p": 0.9}),
        ({"presence_penalty": 1, "frequency_penalty": -1}, {"presence_penalty": 1, "frequency_penalty": -1}),
        ({"repeat_last_n": 0}, {"repeat_last_n": 0}),
        ({"repeat_last_n": 32}, {"repeat_last_n": 32}),
        ({"repeat_last_n": -1}, {"repeat_last_n": 8192}),
        ({"repeat_last_n": 8192}, {"repeat_last_n": 8192}),
        ({"repeat_last_n": 8193}, {"repeat_last_n": 8192}),
        ({"num_keep": 4}, {"n_keep": 4}),
        ({"num_keep": -1}, {}),
        ({"num_ctx": 4096, "num_gpu": 1, "num_thread": 2}, {}),
        ({"mirostat": 1, "samplers": ["x"], "anything": {"a": 1}}, {}),
        ({"temperature": None, "stop": None}, {}),
    ],
)
def test_options_are_translated(option: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each option has its name and its bounds there; those of the runner and unknown ones are left out."""
    assert sampling(option) == {**DEFAULTS, **expected}


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("num_predict", "5", "integer"),
        ("num_ctx", [], "integer"),
        ("top_k", True, "integer"),
        ("seed", math.inf, "integer"),
        ("temperature", "hot", "float32"),
        ("top_p", math.nan, "float32"),
        ("temperature", 10**400, "float32"),
        ("stop", 3, "array of strings"),
        ("stop", ["a", 1], "array of strings"),
    ],
)
def test_an_option_of_the_wrong_type_is_named(name: str, value: Any, kind: str) -> None:
    """A wrong type is a 400 with Ollama's sentence, which names the option."""
    with pytest.raises(BadRequest, match=f'option "{name}" must be of type {kind}'):
        sampling({name: value})


def test_options_that_are_no_object_are_refused() -> None:
    """`options` itself has a type as well."""
    with pytest.raises(BadRequest, match='"options" must be an object'):
        sampling([1])


def test_formats_become_response_formats() -> None:
    """`json` asks for an object, a schema for itself, and an empty format for nothing."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert _chat(format="json")["response_format"] == {"type": "json_object"}
    assert _chat(format=schema)["response_format"]["json_schema"]["schema"] == schema
    assert all("response_format" not in _chat(format=nothing) for nothing in ("", None))
    for wrong in ("xml", 3, [1]):
        with pytest.raises(BadRequest, match="invalid format"):
            _chat(format=wrong)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"think": True}, "thinking"),
        ({"think": "high"}, "thinking"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"messages": [{**USER, "images": ["aGk="]}]}, "images"),
    ],
)
def test_what_the_model_cannot_take_is_refused(fields: dict[str, Any], what: str) -> None:
    """Thinking, tools and images get a clear 400, with Ollama's words where it has some; an able model takes them."""
    with pytest.raises(Unsupported, match=f'^"m" does not support {what}$'):
        _chat(**fields)
    _chat(ABLE, **fields)


def test_images_and_a_suffix_of_a_prompt_are_refused() -> None:
    """`generate` refuses alike, with its own fields."""
    with pytest.raises(Unsupported, match='"m" does not support images'):
        _generate(images=["aGk="])
    with pytest.raises(Unsupported, match='"m" does not support insert'):
        _generate(suffix="end")
    with pytest.raises(Unsupported, match="raw mode"):
        _generate(raw=True, images=["aGk="])


def test_empty_images_tools_and_thinking_are_nothing() -> None:
    """Clients send empty lists and `think: false` without meaning anything by it."""
    plain = _chat()
    assert _chat(tools=[], think=False, images=[], messages=[{**USER, "images": [], "tool_calls": []}]) == plain
    assert _generate(images=[], suffix="", template="", context=[], think=False) == _generate()


def test_images_become_parts() -> None:
    """A model that sees gets the images as data URIs beside the text."""
    [message] = _chat(ABLE, messages=[{**USER, "images": ["/9j/AA==", "iVBO"]}])["messages"]
    assert [part.get("image_url", {}).get("url") for part in message["content"]] == [
        None,
        "data:image/jpeg;base64,/9j/AA==",
        "data:image/png;base64,iVBO",
    ]


def test_tool_calls_carry_their_arguments_as_text() -> None:
    """Ollama's arguments are an object, OpenAI's are its text; the tool's answer names its call."""
    call = {"function": {"name": "f", "arguments": {"city": "Köln"}}}
    turns = [{"role": "assistant", "tool_calls": [call]}, {"role": "TOOL", "content": "rain", "tool_name": "f"}]
    asked, answered = _chat(messages=turns)["messages"]
    function = {"name": "f", "arguments": '{"city": "Köln"}'}
    [call] = asked["tool_calls"]
    assert re.fullmatch("[A-Za-z0-9]{9}", call["id"])
    assert call == {"id": call["id"], "type": "function", "function": function}
    assert answered == {"role": "tool", "content": "rain", "name": "f", "tool_call_id": call["id"]}


@pytest.mark.parametrize(
    "message",
    [3, {"content": "x"}, {"role": ""}, {"role": "user", "content": 3}, {"role": "user", "tool_calls": [1]}],
)
def test_a_message_out_of_shape_is_refused(message: Any) -> None:
    """What the engine would answer with a 500 is a 400 here."""
    with pytest.raises(BadRequest):
        _chat(messages=[message])


def test_no_engine_control_passes() -> None:
    """Fields of the engine's own API, and Ollama's that mean nothing to it, never reach it."""
    smuggled: dict[str, Any] = {
        "n": 2,
        "samplers": ["top_k"],
        "response_fields": ["content"],
        "max_tokens": 1,
        "id_slot": 0,
        "grammar": 'root ::= "x"',
    }
    ollamas: dict[str, Any] = {
        "keep_alive": 0,
        "truncate": True,
        "shift": True,
        "raw": False,
        "stream_options": {},
        "unknown": 1,
    }
    assert _chat(PLAIN, **smuggled, **ollamas, prompt="x") == _chat()
    assert _generate(PLAIN, **smuggled, **ollamas, messages=[], tools=[1]) == _generate()
    assert _generate(PLAIN, raw=True, **smuggled) == _generate(raw=True)


def test_logprobs_ask_for_at_least_one_alternative() -> None:
    """Asked for none, the engine would compute none at all."""
    assert (_chat(logprobs=True)["logprobs"], _chat(logprobs=True)["top_logprobs"]) == (True, 1)
    assert _chat(top_logprobs=3)["top_logprobs"] == 3
    assert "logprobs" not in _chat(logprobs=False, top_logprobs=0)
    for wrong in (-1, 21, True, "2", 1.5):
        with pytest.raises(BadRequest, match="between 0 and 20"):
            top_logprobs({"top_logprobs": wrong})


def test_inputs_to_embed() -> None:
    """One text or several; anything else is refused with Ollama's words."""
    assert embed_request({"input": "a"}, PLAIN)["input"] == ["a"]
    assert embed_request({"input": ["a", "b"]}, PLAIN)["input"] == ["a", "b"]
    nothings: list[Any] = [None, "", []]
    assert all(embed_request({"input": nothing}, PLAIN)["input"] == [] for nothing in nothings)
    for wrong in (3, ["a", 1], {"a": 1}):
        with pytest.raises(BadRequest, match="invalid input type"):
            embed_request({"input": wrong}, PLAIN)
    assert dimensions({"dimensions": -3}) == dimensions({}) == 0
    with pytest.raises(BadRequest):
        dimensions({"dimensions": "3"})


@pytest.mark.parametrize(
    ("kept", "reason"),
    [(None, "load"), ("5m", "load"), (300, "load"), (-1, "load"), (0, "unload"), ("0", "unload"), ("0s", "unload")],
)
def test_nothing_to_say_loads_or_unloads(kept: Any, reason: str) -> None:
    """An empty prompt or conversation only loads the model, or with `keep_alive` 0 unloads it."""
    assert load_reason("generate", {"prompt": "", "keep_alive": kept}) == reason
    assert load_reason("chat", {"messages": [], "keep_alive": kept}) == reason
    assert load_reason("generate", {"prompt": "x", "keep_alive": kept}) == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    *("messages", "prompt", "system", "options", "format", "think", "tools", "images", "suffix", "template"),
    *("context", "raw", "logprobs", "top_logprobs", "keep_alive", "input", "dimensions", "stream"),
)
OPTIONS = ("num_predict", "seed", "stop", "top_k", "top_p", "temperature", "repeat_last_n", "num_keep", "num_ctx")
BODIES = st.dictionaries(st.sampled_from(FIELDS), JSON)
OPTION_SETS = st.dictionaries(st.sampled_from(OPTIONS), JSON)


@settings(deadline=None, max_examples=300)
@given(BODIES, OPTION_SETS, st.sampled_from([PLAIN, ABLE]))
def test_any_body_is_translated_or_refused(body: dict[str, Any], options: dict[str, Any], model: Model) -> None:
    """Whatever JSON a client sends: a body that is JSON again, or an error with a status of 400."""
    body.setdefault("options", options)
    for translate in (chat_request, lambda b, m: generate_request(b, m)[1], embed_request):
        with suppress(BadRequest):
            json.dumps(translate(body, model))
