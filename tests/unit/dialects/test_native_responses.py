"""OpenAI's responses as a body of Ollama's own chat, and Ollama's lines as the events of a response."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from mlops_backend.errors import BackendFailed, BackendNonsense, BadRequest
from mlops_backend.services.llm.dialects import MAX_FRAME_BYTES
from mlops_backend.services.llm.dialects.native import ROUTES, Carried
from mlops_backend.services.llm.dialects.native.response_events import ResponseTranslator
from tests.fakes.ollama_shapes import encode
from tests.unit.dialects.test_frames import cut
from tests.unit.dialects.test_native_stream import CALL, COUNTS, HEAD, LAST, SAID, STREAM, chat_line, texts

ROUTE: Final = "/v1/responses"
IMAGE: Final = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"}
TOOL: Final = {"type": "function", "name": "look", "description": "Look.", "parameters": {"type": "object"}}
NATIVE_TOOL: Final = {
    "type": "function",
    "function": {name: TOOL[name] for name in ("name", "description", "parameters")},
}
CALLED: Final = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"at":"sky"}'}
NATIVE_CALL: Final = {"id": "call_1", "function": {"name": "look", "arguments": {"at": "sky"}}}
# What differs between two answers to the same request.
PASSING: Final = ("id", "item_id", "call_id", "created_at", "completed_at")
ENDS: Final = ("response.completed", "response.incomplete", "response.failed")
EVENT: Final[TypeAdapter[Any]] = TypeAdapter(ResponseStreamEvent)


def carried(**fields: Any) -> Carried:
    """A response that is carried."""
    return ROUTES[ROUTE]({"model": "m", "input": "Hi", **fields})


def messages(*items: Any, **fields: Any) -> Any:
    """Items in Ollama's words."""
    return carried(input=list(items), **fields).body["messages"]


def part(words: str, kind: str = "input_text") -> dict[str, str]:
    """A part of a content."""
    return {"type": kind, "text": words}


def said(role: str, *content: Any) -> dict[str, Any]:
    """A message."""
    return {"type": "message", "role": role, "content": list(content)}


def thought(words: str) -> dict[str, Any]:
    """A thought that is given back."""
    return {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": words}]}


def translated(*chunks: bytes, **fields: Any) -> list[dict[str, Any]]:
    """The events of a stream that comes in these pieces."""
    made = carried(stream=True, **fields)
    assert made.translator is not None
    translator = made.translator()
    return told(b"".join(translator.feed(chunk) for chunk in chunks) + translator.end())


def told(events: bytes) -> list[dict[str, Any]]:
    """Their objects, each under the name of its type, and as the client library wants them, in its order."""
    *frames, nothing = events.split(b"\n\n")
    assert nothing == b""
    objects = []
    state = ResponseStreamState(input_tools=omit, text_format=omit)
    for frame in frames:
        name, _, data = frame.partition(b"\ndata: ")
        objects.append(json.loads(data))
        assert name.decode() == f"event: {objects[-1]['type']}"
        state.handle_event(EVENT.validate_json(data))
    assert [each["sequence_number"] for each in objects] == list(range(len(objects)))
    return objects


def without_ids(value: Any) -> Any:
    """A value without what differs each time."""
    match value:
        case dict():
            return {name: without_ids(inner) for name, inner in value.items() if name not in PASSING}
        case list():
            return [without_ids(inner) for inner in value]
    return value


def test_a_text() -> None:
    """What an Ollama's own route makes of it: its temperature is 1 where nothing is said."""
    made = carried()
    assert (made.path, made.translator) == ("/api/chat", None)
    assert made.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": False,
        "options": {"temperature": 1.0},
    }


def test_options() -> None:
    """Those that Ollama reads; others are overlooked."""
    body = carried(temperature=0, top_p=0.5, max_output_tokens=9, metadata={"a": "b"}, truncation="auto").body
    assert body["options"] == {"temperature": 0, "top_p": 0.5, "num_predict": 9}
    assert body.keys() == {"model", "messages", "stream", "options"}


def test_instructions_come_first() -> None:
    """Before what else a system says; a developer is another name for it."""
    assert messages(said("developer", part("Be.")), said("user", part("Hi")), instructions="Brief.") == [
        {"role": "system", "content": "Brief."},
        {"role": "system", "content": "Be."},
        {"role": "user", "content": "Hi"},
    ]


def test_turns() -> None:
    """Texts of one message are joined; thoughts and calls go with what is said around them."""
    items = [
        {"role": "user", "content": "See"},
        said("user", part("th"), IMAGE, part("is")),
        thought("Hm."),
        said("assistant", part("I look.", "output_text"), {"type": "refusal", "refusal": " No."}),
        CALLED,
        {"type": "function_call_output", "call_id": "call_1", "output": "Blue."},
        thought("So."),
        {**CALLED, "call_id": "call_2", "arguments": ""},
        {"type": "function_call_output", "call_id": "call_2", "output": [part("Gr"), IMAGE, part("ey.")]},
        thought("Well."),
    ]
    assert messages(*items) == [
        {"role": "user", "content": "See"},
        {"role": "user", "content": "this", "images": ["AAAA"]},
        {"role": "assistant", "content": "I look. No.", "thinking": "Hm.", "tool_calls": [NATIVE_CALL]},
        {"role": "tool", "content": "Blue.", "tool_name": "look", "tool_call_id": "call_1"},
        {
            "role": "assistant",
            "content": "",
            "thinking": "So.",
            "tool_calls": [{"id": "call_2", "function": {"name": "look", "arguments": {}}}],
        },
        {"role": "tool", "content": "Grey.", "images": ["AAAA"], "tool_name": "look", "tool_call_id": "call_2"},
        {"role": "assistant", "content": "", "thinking": "Well."},
    ]


def test_thoughts_that_cannot_be_read_are_left_out() -> None:
    """What another server encrypted is none of the model's words; the whole thought counts before its summary."""
    assert messages({"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}, said("user", part("Hi"))) == [
        {"role": "user", "content": "Hi"}
    ]
    whole = {**thought("short"), "content": [{"type": "reasoning_text", "text": "long"}]}
    assert messages(whole, said("assistant", part("So.", "output_text")))[0]["thinking"] == "long"


def test_tools() -> None:
    """Those that OpenAI itself runs are left out, and the answer does not list them."""
    made = carried(tools=[TOOL, {"type": "web_search"}, {"type": "function", "name": "see"}])
    none = {"type": "object", "properties": {}}
    other = {"type": "function", "function": {"name": "see", "description": "", "parameters": none}}
    assert made.body["tools"] == [NATIVE_TOOL, other]
    answer = made.whole({"message": {"content": "x"}, "done": True})
    assert [tool["name"] for tool in answer["tools"]] == ["look", "see"]
    assert "tools" not in carried(tools=[{"type": "web_search"}]).body


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("auto", ["look", "see"]),
        ("required", ["look", "see"]),
        ("none", []),
        ({"type": "function", "name": "see"}, ["see"]),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look"}]}, ["look"]),
        ({"type": "allowed_tools", "tools": 7}, []),
        ({}, ["look", "see"]),
    ],
)
def test_a_choice_of_tools(choice: Any, names: list[str]) -> None:
    """Others are not told to the model."""
    body = carried(tools=[TOOL, {**TOOL, "name": "see"}], tool_choice=choice).body
    assert [tool["function"]["name"] for tool in body.get("tools", ())] == names


@pytest.mark.parametrize(
    ("form", "native"),
    [
        ({"type": "json_schema", "name": "x", "schema": {"type": "object"}}, {"type": "object"}),
        ({"type": "json_object"}, "json"),
        ({"type": "text"}, None),
        (None, None),
    ],
)
def test_the_form_of_the_answer(form: Any, native: Any) -> None:
    """A schema, JSON, or none."""
    assert carried(text={"format": form, "verbosity": "low"}).body.get("format") == native


@pytest.mark.parametrize(("told", "truncate"), [("disabled", False), ("auto", None), (None, None)])
def test_what_is_too_long(told: str | None, truncate: bool | None) -> None:
    """Is not cut by an Ollama where it is not to be."""
    assert carried(truncation=told).body.get("truncate") is truncate


def test_what_an_answer_repeats() -> None:
    """What was asked, and the tier that there is."""
    asked = {"metadata": {"a": "b"}, "prompt_cache_key": "k", "max_tool_calls": 3, "parallel_tool_calls": False}
    made = carried(**asked, service_tier="priority", truncation="auto", include=["reasoning.encrypted_content"])
    answer = made.whole({"message": {"content": "x", "thinking": "Hm."}, "done": True})
    assert {name: answer[name] for name in asked} == asked
    assert (answer["service_tier"], answer["truncation"]) == ("default", "auto")
    assert answer["output"][0]["encrypted_content"] == "Hm."
    assert made.beyond["parallel_tool_calls"] is False
    assert "service_tier" not in carried().whole({"message": {"content": "x"}, "done": True})


@pytest.mark.parametrize(
    ("effort", "think"), [("none", False), ("minimal", "low"), ("high", "high"), ("xhigh", "max"), (None, None)]
)
def test_how_long_to_think(effort: str | None, think: Any) -> None:
    """In Ollama's words."""
    assert carried(reasoning={"effort": effort, "summary": "auto"}).body.get("think") == think


REFUSED: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "no input": ({"input": None}, "input is required"),
    "empty input": ({"input": ""}, "input is required"),
    "no items": ({"input": []}, "input is required"),
    "input number": ({"input": 7}, "input must be a string or array, not number"),
    "no type": ({"input": [{"content": "Hi"}]}, "input[0]: input item missing required 'type' field"),
    "unknown item": (
        {"input": [said("user"), {"type": "item_reference", "id": "x"}]},
        'input[1]: unknown input item type: "item_reference"',
    ),
    "unknown part": ({"input": [said("user", {"type": "input_file"})]}, "input[0]: unknown content type: input_file"),
    "content": ({"input": [{"role": "user", "content": 7}]}, "input[0]: content must be a string or array, not number"),
    "image elsewhere": (
        {"input": [said("user", {**IMAGE, "image_url": "https://x/y.png"})]},
        "input[0]: invalid image input",
    ),
    "arguments": ({"input": [{**CALLED, "arguments": "{"}]}, "input[0]: invalid tool call arguments"),
    "no name": ({"input": [{**CALLED, "name": ""}]}, "input[0]: function_call missing required 'name' field"),
    "background": ({"background": True}, "background is not supported"),
    "moderation": ({"moderation": {"model": "m"}}, "moderation is not supported"),
    "truncation": ({"truncation": "middle"}, 'truncation must be "auto" or "disabled"'),
    "another form": (
        {"text": {"format": {"type": "grammar"}}},
        'text.format must be of type "text", "json_object" or "json_schema" with a schema',
    ),
    "no schema": (
        {"text": {"format": {"type": "json_schema", "name": "x"}}},
        'text.format must be of type "text", "json_object" or "json_schema" with a schema',
    ),
    "a call of OpenAI's own": (
        {"input": [{"type": "web_search_call", "id": "ws_1"}]},
        'input[0]: unknown input item type: "web_search_call"',
    ),
    "kept elsewhere": ({"conversation": "c"}, "conversation is not supported: nothing of that name is kept here"),
    "another's tool": (
        {"tool_choice": {"type": "web_search"}},
        "tool_choice names a tool that is not among the functions in tools",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    """With a sentence that says what, and where."""
    fields, words = REFUSED[name]
    with pytest.raises(BadRequest) as caught:
        carried(**fields)
    assert caught.value.message == words


def test_the_events_of_a_stream() -> None:
    """In OpenAI's order: items are opened and closed, and the last event has them all."""
    events = translated(STREAM, instructions="Be.", tools=[TOOL], metadata={"a": "b"})
    reasoning, text = "response.reasoning_summary_text", "response.output_text"
    call = "response.function_call_arguments"
    assert [each["type"] for each in events] == [
        *("response.created", "response.in_progress"),
        *("response.output_item.added", "response.reasoning_summary_part.added", f"{reasoning}.delta"),
        *(f"{reasoning}.done", "response.reasoning_summary_part.done", "response.output_item.done"),
        *("response.output_item.added", "response.content_part.added", f"{text}.delta", f"{text}.delta"),
        *(f"{text}.delta", f"{text}.done", "response.content_part.done", "response.output_item.done"),
        *("response.output_item.added", f"{call}.delta", f"{call}.done", "response.output_item.done"),
        "response.completed",
    ]
    response = events[-1]["response"]
    done = [each["item"] for each in events if each["type"] == "response.output_item.done"]
    assert response["output"] == done
    assert [item["type"] for item in done] == ["reasoning", "message", "function_call"]
    assert done[1]["content"][0]["text"] == 'The "sky"\n \u2028\U0001f600 <b> \\'
    assert json.loads(done[2]["arguments"]) == CALL["function"]["arguments"]
    assert [each["output_index"] for each in events if "output_index" in each] == sorted(
        each["output_index"] for each in events if "output_index" in each
    )
    assert (response["instructions"], response["metadata"], response["model"]) == ("Be.", {"a": "b"}, "m")
    assert response["usage"] == {
        "input_tokens": COUNTS["prompt_eval_count"],
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": COUNTS["eval_count"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": sum(COUNTS.values()),
    }
    assert len({each["response"]["id"] for each in events if "response" in each}) == 1


@settings(max_examples=30)
@given(st.lists(st.integers(min_value=0), max_size=6))
def test_a_stream_is_the_same_however_it_is_cut(places: list[int]) -> None:
    """But for identifiers and times."""
    assert without_ids(translated(*cut(STREAM, places))) == without_ids(translated(STREAM))


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(["content", "thinking"]), texts), max_size=8), st.booleans())
def test_what_is_streamed_is_what_a_whole_answer_has(pieces: list[tuple[str, str]], calls: bool) -> None:
    """And what the client joins of the pieces is what the last event tells."""
    lines = [chat_line(text) if name == "content" else chat_line(thinking=text) for name, text in pieces]
    lines += [chat_line(tool_calls=[CALL])] if calls else []
    events = translated(*lines, LAST)
    for kind in ("response.output_text", "response.reasoning_summary_text"):
        joined = "".join(each["delta"] for each in events if each["type"] == f"{kind}.delta")
        assert joined == "".join(each["text"] for each in events if each["type"] == f"{kind}.done")
    assert events[-1]["type"] == "response.completed"
    thinking, content = ("".join(text for name, text in pieces if name == each) for each in ("thinking", "content"))
    message = {"content": content, "thinking": thinking, **({"tool_calls": [CALL]} if calls else {})}
    whole = carried().whole({**HEAD, "message": message, "done": True, **COUNTS})
    Response.model_validate(whole)

    def words(response: dict[str, Any]) -> dict[str, str]:
        found = {"message": "", "reasoning": "", "function_call": ""}
        for item in response["output"]:
            parts = item.get("content") or item.get("summary") or [{"text": item.get("arguments", "")}]
            found[item["type"]] += "".join(each["text"] for each in parts)
        return found

    assert words(events[-1]["response"]) == words(whole)


@given(thinking=texts, content=texts, count=st.integers(min_value=0, max_value=2))
def test_an_answer_that_is_given_back_is_what_the_model_said(thinking: str, content: str, count: int) -> None:
    """Thoughts, words and calls, with their ids."""
    calls = [{**NATIVE_CALL, "id": f"call_{number}"} for number in range(count)]
    spoken = {"role": "assistant", "content": content, "thinking": thinking, "tool_calls": calls}
    output = carried().whole({"message": spoken, "done": True})["output"]
    asked = {"role": "user", "content": "And?"}
    *back, last = messages(*output, asked)
    said_again = {name: value for name, value in spoken.items() if value or name == "content"}
    assert back == ([said_again] if thinking or content or calls else [])
    assert last == asked


@given(
    st.lists(
        st.one_of(
            st.sampled_from([*SAID, chat_line("", thinking="Hm."), chat_line("", tool_calls=[CALL])]),
            st.sampled_from([encode({"error": "no"}) + b"\n", chat_line(done=True, done_reason="length", **COUNTS)]),
            st.sampled_from([b"[]\n", b"{\n", b'{"message":7}\n', b"\n", b'{"message":{"tool_calls":7}}\n']),
        ),
        max_size=6,
    )
)
def test_any_stream_has_one_end_or_fails(lines: list[bytes]) -> None:
    """Numbers rise by one, an item that was opened is closed before a sound end, and nothing comes behind it."""
    translator = ResponseTranslator({"model": "m"}, {})
    made, broke = b"", False
    try:
        for line in lines:
            made += translator.feed(line)
        made += translator.end()
    except (BackendNonsense, BackendFailed):
        broke = True
    events = told(made)
    ends = [each["type"] for each in events if each["type"] in ENDS]
    assert len(ends) <= 1
    if ends:
        assert events[-1]["type"] == ends[0]
        opened, closed = (
            sum(each["type"] == f"response.output_item.{kind}" for each in events) for kind in ("added", "done")
        )
        assert opened == closed or ends == ["response.failed"]
    elif not broke:
        assert not any(line in {LAST, encode({"error": "no"}) + b"\n"} for line in lines)


def test_an_answer_that_was_cut() -> None:
    """Is incomplete, and says why; streamed too."""
    cut_line = chat_line(done=True, done_reason="length", **COUNTS)
    last = translated(SAID[0], cut_line)[-1]
    assert last["type"] == "response.incomplete"
    whole = carried().whole(json.loads(chat_line("The", done=True, done_reason="length", **COUNTS)))
    for response in (last["response"], whole):
        assert (response["status"], response["completed_at"]) == ("incomplete", None)
        assert response["incomplete_details"] == {"reason": "max_output_tokens"}
        assert response["output"][0]["status"] == "incomplete"


def test_a_failure_amid_the_answer() -> None:
    """Has the backend's words, and ends it."""
    last = translated(SAID[0], encode({"error": "out of memory"}) + b"\n", LAST)[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["error"] == {"code": "server_error", "message": "out of memory"}


def test_half_a_pair_of_surrogates_is_no_text() -> None:
    """It goes on as it is spelt; where it is told again it is a question mark."""
    half = chat_line("x").replace(b'"content":"x"', b'"content":"\\ud83d"')
    whole = chat_line("x").replace(b'"content":"x"', b'"content":"\\ud83d\\ude00"')
    translator = ResponseTranslator({"model": "m"}, {})
    made = b"".join(map(translator.feed, (chat_line("a"), whole, half, LAST)))
    assert made.count(b"\\ud83d") == 2
    assert '"text":"a\U0001f600?"'.encode() in made


def test_an_answer_is_no_longer_than_an_event_may_be() -> None:
    """All of it is told once more at its end."""
    translator = ResponseTranslator({"model": "m"}, {})
    piece = chat_line("x" * 1024 * 1024)
    for _ in range(MAX_FRAME_BYTES // (2 * 1024 * 1024)):
        translator.feed(piece)
    with pytest.raises(BackendNonsense):
        translator.feed(piece)
