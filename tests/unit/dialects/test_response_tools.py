"""Tools of OpenAI's responses that are no functions: as functions for a model; their calls as the client's items."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response

from mlops_backend.errors import BackendNonsense, BadRequest
from mlops_backend.services.llm.dialects import MAX_FRAME_BYTES
from mlops_backend.services.llm.dialects.native import Joined
from mlops_backend.services.llm.dialects.openai import StreamTranslator, replies
from mlops_backend.services.llm.dialects.openai.calls import CallGatherer
from tests.unit.dialects.test_carried_any_stream import piece
from tests.unit.dialects.test_frames import cut
from tests.unit.dialects.test_native_responses import (
    NATIVE_TOOL,
    TOOL,
    carried,
    messages,
    part,
    said,
    told,
    translated,
    without_ids,
)
from tests.unit.dialects.test_native_stream import HEAD, LAST, chat_line, texts

PATCH: Final = {"type": "custom", "name": "patch", "description": "Patch.", "format": {"type": "text"}}
GRAMMAR: Final = {"type": "grammar", "syntax": "lark", "definition": "start: /a+/"}
TEXT: Final = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The tool's whole input, as free text."}},
    "required": ["input"],
}
CRM: Final = {"type": "namespace", "name": "crm", "description": "Customers.", "tools": [TOOL, PATCH]}
WORDS: Final = '*** "Begin"\n\\ \U0001f600 é \u2028'
CALLED: Final = {"type": "custom_tool_call", "call_id": "call_1", "name": "patch", "input": WORDS}
NATIVE_CALL: Final = {"id": "call_1", "function": {"index": 0, "name": "patch", "arguments": {"input": WORDS}}}
ENDED: Final = piece({}, "tool_calls", usage={"prompt_tokens": 3, "completion_tokens": 4})


def written(arguments: str, *, index: int = 0, name: str = "", told_id: str = "") -> bytes:
    """An event of a server's, with a piece of a call."""
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    return piece({"tool_calls": [{"index": index, **({"id": told_id} if told_id else {}), "function": function}]})


def joined(*chunks: bytes, free_form: tuple[str, ...] = ("patch",), **fields: Any) -> list[dict[str, Any]]:
    """The events that are made of what a server of chat completions streams."""
    made = carried(stream=True, **fields)
    assert made.translator is not None
    events, lines = made.translator(), StreamTranslator("chat", "m", free_form=frozenset(free_form))
    both = Joined(lines, events)
    return told(b"".join(both.feed(chunk) for chunk in chunks) + events.feed(lines.end()) + events.end())


def test_a_tool_that_takes_a_text_is_a_function() -> None:
    """With one parameter; the answer lists it as it was sent."""
    made = carried(tools=[TOOL, PATCH])
    described = "Patch.\n\nGive the whole text as the parameter `input`."
    function = {"name": "patch", "description": described, "parameters": TEXT}
    assert made.body["tools"] == [NATIVE_TOOL, {"type": "function", "function": function}]
    assert made.beyond["free_form"] == ["patch"]
    answer = made.whole({"message": {"content": "x"}, "done": True})
    Response.model_validate(answer)
    assert answer["tools"][1] == PATCH


def test_a_grammar_is_told_in_words() -> None:
    """Nobody enforces it."""
    for syntax, called in (("lark", "Lark grammar"), ("regex", "regular expression")):
        made = carried(tools=[{**PATCH, "format": {**GRAMMAR, "syntax": syntax}}])
        description = made.body["tools"][0]["function"]["description"]
        assert description.endswith(f"\n\nThe text has to follow this {called}:\nstart: /a+/")
        assert made.whole({"message": {"content": "x"}, "done": True})["tools"][0]["format"]["syntax"] == syntax
    with pytest.raises(BadRequest, match='unknown format of the custom tool patch: "xml"'):
        carried(tools=[{**PATCH, "format": {"type": "xml"}}])


def test_tools_in_a_namespace() -> None:
    """Their names have its name before them; what is called has its own name, and that of the namespace beside it."""
    made = carried(tools=[TOOL, CRM])
    assert [tool["function"]["name"] for tool in made.body["tools"]] == ["look", "crm__look", "crm__patch"]
    calls = [
        {"id": f"call_{number}", "function": {"name": name, "arguments": {"input": "x"}}}
        for number, name in enumerate(("look", "crm__look", "crm__patch", "other"))
    ]
    answer = made.whole({"message": {"content": "", "tool_calls": calls}, "done": True})
    Response.model_validate(answer)
    assert answer["tools"][1] == {**CRM, "tools": [{**TOOL, "strict": None}, PATCH]}
    assert [(item["type"], item["name"], item.get("namespace")) for item in answer["output"]] == [
        ("function_call", "look", None),
        ("function_call", "look", "crm"),
        ("custom_tool_call", "patch", "crm"),
        ("function_call", "other", None),
    ]
    [turn] = messages(*answer["output"])
    assert [call["function"]["name"] for call in turn["tool_calls"]] == ["look", "crm__look", "crm__patch", "other"]


def test_namespaces_of_one_name_are_one() -> None:
    """Each tool is told once, that of a search too; a call has the namespace's name, whichever it was told in."""
    more = {**CRM, "tools": [TOOL, {**TOOL, "name": "more"}]}
    found = {"type": "tool_search_output", "call_id": "call_1", "tools": [more, {**more, "tools": [PATCH]}]}
    made = carried(tools=[CRM, more], input=[said("user", part("Go")), found])
    assert [tool["function"]["name"] for tool in made.body["tools"]] == ["crm__look", "crm__patch", "crm__more"]
    call = {"id": "call_2", "function": {"name": "crm__more", "arguments": {}}}
    answer = made.whole({"message": {"content": "", "tool_calls": [call]}, "done": True})
    Response.model_validate(answer)
    [item] = answer["output"]
    assert (item["name"], item["namespace"], len(answer["tools"])) == ("more", "crm", 2)


def test_a_search_for_tools_that_the_client_does() -> None:
    """Is a function; what it found are tools from then on, each told once. One that OpenAI does is left out."""
    search = {
        "type": "tool_search",
        "execution": "client",
        "description": "Find.",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}},
    }
    told_by = {"type": "tool_search_call", "id": "tsc_1", "call_id": "call_1", "execution": "client"}
    items = [
        said("user", part("Go")),
        {**told_by, "status": "completed", "arguments": {"query": "customers"}},
        {**told_by, "type": "tool_search_output", "status": "completed", "tools": [CRM, TOOL]},
    ]
    made = carried(tools=[TOOL, search, {"type": "tool_search"}], input=items)
    described = [tool["function"]["name"] for tool in made.body["tools"]]
    assert described == ["look", "tool_search", "crm__look", "crm__patch"]
    assert made.body["tools"][1]["function"]["parameters"] == search["parameters"]
    _, call, result = made.body["messages"]
    assert call["tool_calls"] == [
        {"id": "call_1", "function": {"name": "tool_search", "arguments": {"query": "customers"}}}
    ]
    assert result["content"] == "These tools can be called now: crm__look, crm__patch, look."
    assert (result["tool_name"], result["tool_call_id"]) == ("tool_search", "call_1")
    nothing = messages(items[0], items[1], {**items[2], "tools": []})
    assert nothing[-1]["content"] == "No tools were found."
    again = {"id": "call_2", "function": {"name": "tool_search", "arguments": {"query": "more"}}}
    answer = made.whole({"message": {"content": "", "tool_calls": [again]}, "done": True})
    Response.model_validate(answer)
    assert answer["tools"] == [{**TOOL, "strict": None}, search]
    [item] = answer["output"]
    assert (item["type"], item["call_id"], item["arguments"]) == ("tool_search_call", "call_2", {"query": "more"})
    events = translated(chat_line("", tool_calls=[again]), LAST, tools=[search])
    assert [each["type"].removeprefix("response.") for each in events[2:]] == [
        *("output_item.added", "output_item.done", "completed")
    ]
    assert carried(tools=[TOOL, search], tool_choice={"type": "tool_search"}).beyond["tool_choice"] == {
        "type": "function",
        "function": {"name": "tool_search"},
    }


def test_a_long_name_in_a_namespace_is_not_cut_by_anybody() -> None:
    """Two that begin alike stay two."""
    inner = [{**TOOL, "name": f"{'x' * 60}{number}"} for number in range(2)]
    made = carried(tools=[{**CRM, "tools": inner}])
    names = [tool["function"]["name"] for tool in made.body["tools"]]
    assert len(set(names)) == 2
    assert {len(name) for name in names} == {64}


def test_a_call_and_its_output_are_turns() -> None:
    """With their ids; the text is an argument again."""
    output = {"type": "custom_tool_call_output", "call_id": "call_1", "output": [part("Do"), part("ne.")]}
    call = {"id": "call_1", "function": {"name": "patch", "arguments": {"input": WORDS}}}
    assert messages(said("user", part("Go")), CALLED, output) == [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "Done.", "tool_name": "patch", "tool_call_id": "call_1"},
    ]
    with pytest.raises(BadRequest, match="custom_tool_call missing required 'call_id' field"):
        messages({**CALLED, "call_id": ""})


@pytest.mark.parametrize(
    ("choice", "names", "beyond"),
    [
        ("required", ["look", "patch", "crm__look", "crm__patch"], "required"),
        ({"type": "custom", "name": "patch"}, ["patch", "crm__patch"], "patch"),
        ({"type": "function", "name": "look"}, ["look", "crm__look"], "look"),
        ({"type": "custom", "name": "crm__patch"}, ["crm__patch"], "crm__patch"),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "patch"}]},
            ["patch", "crm__patch"],
            "required",
        ),
        ({"type": "allowed_tools", "mode": "auto", "tools": [CRM]}, ["crm__look", "crm__patch"], "auto"),
    ],
)
def test_a_choice_of_tools(choice: Any, names: list[str], beyond: str) -> None:
    """Of either kind; a server is told of the function that it became."""
    made = carried(tools=[TOOL, PATCH, CRM], tool_choice=choice)
    assert [tool["function"]["name"] for tool in made.body["tools"]] == names
    function = {"type": "function", "function": {"name": beyond}}
    assert made.beyond["tool_choice"] == (beyond if beyond in ("required", "auto") else function)


@pytest.mark.parametrize("choice", ["required", {"type": "custom", "name": "look"}, {"type": "mcp", "name": "look"}])
def test_a_call_that_cannot_be_made_is_refused(choice: Any) -> None:
    """Where a tool has to be called, and there is none that can be."""
    tools = [{"type": "web_search"}] if choice == "required" else [TOOL]
    with pytest.raises(BadRequest, match="tool_choice"):
        carried(tools=tools, tool_choice=choice)


def test_an_answer_that_calls() -> None:
    """Of an Ollama, whole and streamed; a call that it does not wrap as it was told is handed over."""
    for arguments in ({"input": WORDS}, {"text": WORDS}):
        call = {"id": "call_1", "function": {"name": "patch", "arguments": arguments}}
        answer = carried(tools=[PATCH]).whole({**HEAD, "message": {"content": "", "tool_calls": [call]}, "done": True})
        Response.model_validate(answer)
        [item] = answer["output"]
        assert without_ids(item) == {**without_ids(CALLED), "status": "completed"}
        events = translated(chat_line("", tool_calls=[call]), LAST, tools=[PATCH])
        assert without_ids(events[-1]["response"]["output"]) == [without_ids(item)]


@settings(max_examples=40)
@given(texts, st.booleans(), st.integers(min_value=1, max_value=9), st.lists(st.integers(min_value=0), max_size=6))
def test_a_text_is_streamed_as_it_is_written(text: str, ascii_only: bool, size: int, places: list[int]) -> None:
    """However the server cuts it, and the network what the server sends: the pieces are the text; so is a whole one."""
    arguments = json.dumps({"input": text}, ensure_ascii=ascii_only)
    parts = [arguments[at : at + size] for at in range(0, len(arguments), size)]
    stream = written("", name="patch", told_id="call_1") + b"".join(map(written, parts)) + ENDED
    events = joined(*cut(stream, places), tools=[PATCH])
    kind = "response.custom_tool_call_input"
    assert "".join(each["delta"] for each in events if each["type"] == f"{kind}.delta") == text
    [done] = [each for each in events if each["type"] == f"{kind}.done"]
    assert done["input"] == text
    [item] = events[-1]["response"]["output"]
    assert (item["call_id"], item["name"], item["input"]) == ("call_1", "patch", text)
    call = {"id": "call_1", "function": {"name": "patch", "arguments": arguments}}
    choice = {"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}
    answer = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}).encode()
    whole = carried(tools=[PATCH]).whole(replies.whole_reply("chat", answer, "m", 1, free_form=frozenset({"patch"})))
    assert without_ids(whole["output"]) == without_ids([item])


def test_each_piece_is_told_before_the_next_comes() -> None:
    """And an item that comes between two pieces stands behind."""
    made = carried(stream=True, tools=[PATCH, TOOL])
    assert made.translator is not None
    events, lines = made.translator(), StreamTranslator("chat", "m", free_form=frozenset({"patch"}))
    both = Joined(lines, events)
    chunks = [
        piece({"content": "Now."}),
        written('{"input":"a', name="patch", told_id="call_1"),
        written("b"),
        piece({"content": "Well."}),
        written('c"}'),
        written('{"at": "sky"}', index=1, name="look", told_id="call_2"),
        ENDED,
    ]
    made_of = [both.feed(chunk) for chunk in chunks]
    assert [b'"delta":"%b"' % letter in made for letter, made in zip((b"a", b"b"), made_of[1:3], strict=True)] == [
        True
    ] * 2
    assert b'"delta":"c"' in made_of[4]
    assert b"custom_tool_call_input.done" in made_of[5]
    response = told(b"".join(made_of))[-1]["response"]
    assert [item["type"] for item in response["output"]] == ["message", "custom_tool_call", "message", "function_call"]
    assert response["output"][1]["input"] == "abc"


def test_two_texts_at_once_keep_their_order() -> None:
    """The second is told when the first is over."""
    chunks = [
        written('{"input":"a', name="patch", told_id="call_1"),
        written("raw", index=1, name="patch", told_id="call_2"),
        written('b"}'),
        written(" text", index=1),
        ENDED,
    ]
    output = joined(*chunks, tools=[PATCH])[-1]["response"]["output"]
    assert [(item["call_id"], item["input"]) for item in output] == [("call_1", "ab"), ("call_2", "raw text")]


def test_a_text_that_was_cut() -> None:
    """Is handed over as far as it came, in an answer that is incomplete; so is one that a stream never ended."""
    events = joined(written('{"input":"ab', name="patch"), piece({}, "length"), tools=[PATCH])
    response = events[-1]["response"]
    assert (response["status"], response["output"][0]["input"]) == ("incomplete", "ab")
    assert response["output"][0]["status"] == "incomplete"
    partial = {**NATIVE_CALL, "partial": True}
    assert (
        translated(chat_line("", tool_calls=[partial]), LAST, tools=[PATCH])[-1]["response"]["output"][0]["input"]
        == WORDS
    )


def test_a_function_is_told_whole() -> None:
    """As ever, beside one that takes a text."""
    events = joined(written('{"at"', name="look"), written(': "sky"}'), ENDED, tools=[TOOL, PATCH])
    [item] = events[-1]["response"]["output"]
    assert (item["type"], json.loads(item["arguments"])) == ("function_call", {"at": "sky"})


def test_a_piece_behind_the_end_of_its_text_changes_nothing() -> None:
    """A server that says more than there is costs no other call."""
    chunks = [
        written('{"input":"a"}', name="patch", told_id="call_1"),
        written('{"at": 1}', index=1, name="look", told_id="call_2"),
        written("}", index=0),
        written('{"input":"b"}', index=2, name="patch", told_id="call_3"),
        ENDED,
    ]
    output = joined(*chunks, tools=[TOOL, PATCH])[-1]["response"]["output"]
    assert [item["call_id"] for item in output] == ["call_1", "call_2", "call_3"]
    assert (output[0]["input"], output[2]["input"]) == ("a", "b")


@pytest.mark.parametrize("name", ["look", "patch"])
def test_what_is_held_of_calls_is_bounded(name: str) -> None:
    """Of a function all, of a text what has to wait for its turn; a text whose turn it is goes on."""
    gatherer = CallGatherer(free_form=frozenset({"patch"}))
    part = '{"input":"' + "x" * 1024 * 1024
    gatherer.add({"index": 0, "function": {"name": "patch", "arguments": part}})
    for _ in range(9):
        gatherer.add({"index": 0, "function": {"arguments": part[10:]}})
        [told] = gatherer.begun()
        assert len(told["function"]["arguments"]["input"]) >= 1024 * 1024
    for _ in range(7):
        gatherer.add({"index": 1, "function": {"name": name, "arguments": part}})
    with pytest.raises(BackendNonsense):
        gatherer.add({"index": 1, "function": {"arguments": part}})


@pytest.mark.parametrize("name", ["patch", "look"])
def test_a_text_has_a_bound(name: str) -> None:
    """It is told once more at its end."""
    made = carried(stream=True, tools=[PATCH])
    assert made.translator is not None
    translator = made.translator()
    call = {"function": {"index": 0, "name": name, "arguments": {"input": "x" * 1_048_000}}, "partial": True}
    line = chat_line("", tool_calls=[call])
    for _ in range(MAX_FRAME_BYTES // (2 * 1024 * 1024)):
        translator.feed(line)
    with pytest.raises(BackendNonsense):
        translator.feed(line)
