"""Translations one behind the other: what comes back is what went, but for what the page says is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_backend.services.llm.dialects.native import MESSAGES_PATH, ROUTES, Joined
from mlops_backend.services.llm.dialects.native.message_events import MessageTranslator, message_reply
from mlops_backend.services.llm.dialects.openai import Model, StreamTranslator, replies, requests
from tests.unit.dialects.test_frames import cut

Turn = dict[str, Any]
MODEL: Final = Model("m", frozenset({"completion", "tools", "vision", "thinking"}), llama_cpp=False)
QUESTION: Final = {"role": "user", "content": "Why?"}
USAGE: Final = {
    "prompt_tokens": 9,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
TOLD: Final = {
    "input_tokens": 5,
    "cache_read_input_tokens": 4,
    "output_tokens": 5,
    "output_tokens_details": {"thinking_tokens": 2},
}
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
names = st.text("abcXYZ019_-", min_size=1, max_size=12)
# As the table says, others are made anew.
ids = st.text("abcXYZ0123456789", min_size=9, max_size=9)
arguments = st.dictionaries(words, words | st.integers(-9, 9) | st.lists(st.booleans(), max_size=2), max_size=3)
calls = st.lists(st.tuples(ids, names, arguments), max_size=3, unique_by=lambda call: call[0])
answers = st.tuples(st.lists(words, max_size=4), st.lists(words, max_size=4), calls).filter(any)
Answer = tuple[list[str], list[str], list[tuple[str, str, dict[str, Any]]]]


def openai_call(call: tuple[str, str, dict[str, Any]]) -> Turn:
    """A call in OpenAI's form."""
    return {"id": call[0], "type": "function", "function": {"name": call[1], "arguments": json.dumps(call[2])}}


def turn_of(answer: Answer) -> Turn:
    """What a server's model said, as a turn that the server is sent."""
    thoughts, texts, called = answer
    thinking = "".join(thoughts)
    turn: Turn = {"role": "assistant", "content": "".join(texts)}
    turn |= {"reasoning_content": thinking, "reasoning": thinking} if thinking else {}
    return {**turn, **({"tool_calls": list(map(openai_call, called))} if called else {})}


def read(turn: Turn) -> Turn:
    """A turn whose arguments are objects: their spelling is nobody's."""
    told = [
        {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
        for call in turn.get("tool_calls", ())
    ]
    return {**turn, **({"tool_calls": told} if told else {})}


def sent_back(content: list[Turn], called: Iterable[tuple[str, str, Any]]) -> Turn:
    """The turn that a server is sent, once a client of Anthropic's has heard this and answers the calls."""
    results = [{"type": "tool_result", "tool_use_id": call[0], "content": "Done."} for call in called]
    asked = [QUESTION, {"role": "assistant", "content": content}, {"role": "user", "content": results or "Go on."}]
    body = ROUTES[MESSAGES_PATH]({"model": "m", "max_tokens": 9, "messages": asked}).body
    messages = requests.chat_request(body, MODEL)["messages"]
    assert [turn["tool_call_id"] for turn in messages[2:] if turn["role"] == "tool"] == [call[0] for call in called]
    turn: Turn = messages[1]
    return turn


@settings(deadline=None)
@given(answers)
def test_a_whole_answer_comes_back(answer: Answer) -> None:
    """Its thoughts, text, calls with their ids, why it ended and all of its usage."""
    reason = "tool_calls" if answer[2] else "stop"
    body = {"choices": [{"message": turn_of(answer), "finish_reason": reason}], "usage": USAGE}
    told = message_reply(replies.whole_reply("chat", json.dumps(body).encode(), "m", 1))
    assert read(sent_back(told["content"], answer[2])) == read(turn_of(answer))
    assert (told["stop_reason"], told["usage"]) == ("tool_use" if answer[2] else "end_turn", TOLD)


def streamed(answer: Answer, ensure_ascii: bool) -> bytes:
    """The answer as a server streams it, each call in two fragments."""
    thoughts, texts, called = answer
    deltas: list[Turn] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": thought} for thought in thoughts]
    deltas += [{"content": text} for text in texts]
    for index, call in enumerate(called):
        whole = openai_call(call)
        text = whole["function"]["arguments"]
        first = {**whole, "function": {"name": call[1], "arguments": text[:3]}}
        deltas += [
            {"tool_calls": [{"index": index, **first}]},
            {"tool_calls": [{"index": index, "function": {"arguments": text[3:]}}]},
        ]
    choices: list[Turn] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "tool_calls" if called else "stop"})
    told = [*({"id": "c", "choices": [choice]} for choice in choices), {"id": "c", "choices": [], "usage": USAGE}]
    events = (json.dumps(each, ensure_ascii=ensure_ascii).encode() for each in told)
    return b"".join(b"data: %b\n\n" % each for each in (*events, b"[DONE]"))


def both(
    chunks: Iterable[bytes], feed: Callable[[StreamTranslator, MessageTranslator], Callable[[bytes], bytes]]
) -> bytes:
    """Anthropic's events of a server's."""
    lines, events = StreamTranslator("chat", "m"), MessageTranslator("m", 3)
    fed = feed(lines, events)
    made = [fed(chunk) for chunk in chunks]
    return b"".join([*made, events.feed(lines.end()), events.end()])


def joined(lines: StreamTranslator, events: MessageTranslator) -> Callable[[bytes], bytes]:
    """As a tap does."""
    return Joined(lines, events).feed


def in_two_steps(lines: StreamTranslator, events: MessageTranslator) -> Callable[[bytes], bytes]:
    """As the ordinary way does."""
    return lambda data: events.feed(lines.feed(data))


def told_by(events: bytes) -> list[Turn]:
    """Their objects."""
    return [json.loads(frame.partition(b"\ndata: ")[2]) for frame in events.split(b"\n\n") if frame]


def put_together(events: Iterable[Mapping[str, Any]]) -> list[Turn]:
    """The content of a message, as a client gathers it."""
    content: list[Turn] = []
    for event in events:
        if event["type"] == "content_block_start":
            content.append(dict(event["content_block"]))
        elif event["type"] == "content_block_delta":
            name = event["delta"]["type"].removesuffix("_delta").replace("input_json", "partial_json")
            content[event["index"]][name] = content[event["index"]].get(name, "") + event["delta"][name]
    for block in content:
        if block["type"] == "tool_use":
            block["input"] = json.loads(block.pop("partial_json"))
    return content


@settings(deadline=None)
@given(answers, st.lists(st.integers(min_value=0), max_size=30), st.booleans())
def test_a_stream_comes_back(answer: Answer, places: list[int], ensure_ascii: bool) -> None:
    """The same, however it is cut and spelt."""
    told = told_by(both(cut(streamed(answer, ensure_ascii), places), joined))
    assert read(sent_back(put_together(told), answer[2])) == read(turn_of(answer))
    ended = told[-2]
    assert (ended["delta"]["stop_reason"], ended["usage"]) == ("tool_use" if answer[2] else "end_turn", TOLD)


@settings(deadline=None)
@given(answers, st.lists(st.integers(min_value=0), max_size=6), st.booleans())
def test_both_steps_at_once_are_the_two_steps(answer: Answer, places: list[int], ensure_ascii: bool) -> None:
    """The same events come of it, event by event and cut anywhere."""
    stream = streamed(answer, ensure_ascii)
    for chunks in ([part + b"\n\n" for part in stream.split(b"\n\n") if part], cut(stream, places)):
        quick, slow = (without_ids(told_by(both(chunks, feed))) for feed in (joined, in_two_steps))
        assert quick == slow


def without_ids(events: list[Turn]) -> list[Turn]:
    """Events without the message's own id."""
    events[0]["message"]["id"] = ""
    return events


def test_a_text_alone_makes_no_line() -> None:
    """What stands between its quotation marks goes on as it is spelt, and so do thoughts."""
    answer: Answer = (["hm", "hm"], ["one", "two"], [])
    parts = [part + b"\n\n" for part in streamed(answer, ensure_ascii=False).split(b"\n\n") if part]
    feed = Joined(StreamTranslator("chat", "m"), MessageTranslator("m", 3)).feed
    made = [feed(part.replace(b"hm", rb"\u0068\/").replace(b"two", rb"\u0074\/")) for part in parts]
    assert made[2].endswith(rb'"thinking":"\u0068\/"}}' + b"\n\n")
    assert made[4].endswith(rb'"text":"\u0074\/"}}' + b"\n\n")


turns = st.one_of(
    st.builds(lambda text: [{"role": "user", "content": text}], words),
    st.builds(lambda text: [{"role": "system", "content": text}], words),
    st.just([{"role": "user", "content": "", "images": ["AAAA"]}]),
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Turn]:
    """One in Ollama's form: what others say, and behind it what the model said, with the results of its calls."""
    found: list[Turn] = []
    used: set[str] = set()
    for said, (thoughts, texts, called) in draw(st.lists(st.tuples(turns, answers), max_size=4)):
        fresh = [call for call in called if call[0] not in used]
        used |= {call[0] for call in fresh}
        turn: Turn = {"role": "assistant", "content": "".join(texts)}
        turn |= {"thinking": "".join(thoughts)} if thoughts else {}
        named = [{"id": own, "function": {"name": name, "arguments": given}} for own, name, given in fresh]
        results = [{"role": "tool", "content": own, "tool_name": name, "tool_call_id": own} for own, name, _ in fresh]
        found += [*said, {**turn, **({"tool_calls": named} if named else {})}, *results]
    return [*found, QUESTION]


@settings(deadline=None)
@given(
    conversations(),
    st.fixed_dictionaries(
        {"temperature": st.floats(0, 2), "top_p": st.floats(0.01, 1), "num_predict": st.integers(1, 99)},
        optional={"seed": st.integers(0, 9), "stop": st.lists(words, min_size=1, max_size=4)},
    ),
)
def test_a_conversation_comes_back(conversation: list[Turn], options: dict[str, Any]) -> None:
    """From Ollama's form into OpenAI's and back, with its options, its tools and the form of its answer."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "f", "description": "d", "parameters": schema}}]
    asked = {"model": "m", "messages": conversation, "options": options, "tools": tools, "format": schema}
    back = ROUTES["/v1/chat/completions"](requests.chat_request(asked, MODEL)).body
    assert {name: back[name] for name in asked} == asked
