"""Affinity: the next turn of a chat has the key of the one before, and a key costs little and tells nothing."""

from __future__ import annotations

import json
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_backend.services.llm.dialects import LargeBody, members, shortened, text_of
from mlops_backend.services.llm.routing import affinity

SYSTEM = {"role": "system", "content": "You are a careful assistant. " * 200}
LONG = "word " * 20_000


def user(text: str) -> dict[str, Any]:
    """A message of a user."""
    return {"role": "user", "content": text}


def chat(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A body with messages."""
    return {"model": "llama3", "messages": list(messages), **more}


def key_of(body: Any, conversation: str = "") -> str:
    """The key of a body as it comes over the wire."""
    return affinity(json.dumps(body).encode(), conversation)


def next_turn(body: dict[str, Any], reply: str = "Certainly.", question: str = "And then?") -> dict[str, Any]:
    """The same chat one turn later."""
    return {**body, "messages": [*body["messages"], {"role": "assistant", "content": reply}, user(question)]}


@pytest.mark.parametrize(
    "body",
    [
        chat(user("Hello")),
        chat(SYSTEM, user("Hello")),
        chat(SYSTEM, {"role": "developer", "content": "Be brief."}, user("Hello"), stream=True),
        chat(user("Hello"), system="Be brief.", max_tokens=9),
        chat(SYSTEM, {"role": "user", "content": [{"type": "text", "text": "Hello"}]}),
        chat({**user("What is this?"), "images": ["aGVsbG8="]}),
        chat(SYSTEM, user(LONG)),
    ],
)
def test_the_next_turn_has_the_same_key(body: dict[str, Any]) -> None:
    """In every dialect, whatever is said then; and what is sampled does not matter."""
    later = next_turn(next_turn(body))
    assert key_of(body) == key_of(later) == key_of({**later, "temperature": 1.0, "stream": False})
    assert len(key_of(body)) == 16


@pytest.mark.parametrize(
    "other",
    [
        chat(SYSTEM, user("Hullo")),
        chat(user("Hello")),
        {**chat(SYSTEM, user("Hello")), "model": "qwen3"},
        chat({**SYSTEM, "content": SYSTEM["content"] + "!"}, user("Hello")),
        chat({**SYSTEM, "content": "!" + SYSTEM["content"][1:]}, user("Hello")),
    ],
)
def test_another_chat_has_another_key(other: dict[str, Any]) -> None:
    """Another model, system prompt or first question."""
    assert key_of(other) != key_of(chat(SYSTEM, user("Hello")))


def test_a_long_system_prompt_that_all_share_does_not_make_one_key() -> None:
    """Agents begin with the same tens of kilobytes: their first question tells their chats apart."""
    shared = {"role": "system", "content": LONG[:40_000]}
    assert len({key_of(chat(shared, user(f"{LONG[:20_000]} question {number}"))) for number in range(20)}) == 20


def test_length_and_order_count() -> None:
    """Texts that begin and end alike differ by how long they are, and parts by which comes first."""
    assert key_of(chat(user("a" * 5000))) != key_of(chat(user("a" * 6000)))
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert key_of(chat({"role": "user", "content": parts})) != key_of(chat({"role": "user", "content": parts[::-1]}))


def test_marks_for_a_cache_do_not_count() -> None:
    """Clients of Anthropic's API move them from turn to turn, and make a list of blocks for them."""
    marked = {"role": "user", "content": [{"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}}]}
    assert key_of(chat(marked)) == key_of(chat(user("Hello")))


def test_spellings_of_a_model_are_one() -> None:
    """As Ollama has it."""
    keys = {key_of({**chat(user("Hello")), "model": name}) for name in ("llama3", "LLAMA3:latest", "library/llama3")}
    assert len(keys) == 1


def test_an_image_counts() -> None:
    """The same question about another picture is another chat."""
    one, two = (chat({**user("What is this?"), "images": [image * 9000]}) for image in ("a", "b"))
    assert key_of(one) != key_of(two)
    url = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aaaa"}}
    text = {"type": "text", "text": "What is this?"}
    assert key_of(chat({"role": "user", "content": [text, url]})) != key_of(chat(user("What is this?")))


def test_a_prompt_that_grows_keeps_its_key() -> None:
    """Once it is longer than what is looked at; a text of the Responses API too."""
    for field in ("prompt", "input"):
        begun = {"model": "llama3", field: LONG[:600]}
        assert key_of(begun) == key_of({**begun, field: LONG[:600] + "and so on"})
        assert key_of(begun) != key_of({**begun, field: "other " + LONG[:600]})


def test_an_id_counts_more_than_a_prompt() -> None:
    """Ours, or what a client calls its conversation; with another model it is another cache."""
    one, two = chat(user("Hello")), chat(user("Goodbye"))
    assert key_of(one, "42") == key_of(two, "42") != key_of(one)
    assert key_of({**one, "prompt_cache_key": "42"}) == key_of({**two, "prompt_cache_key": "42"}) == key_of(one, "42")
    assert key_of({**one, "conversation": {"id": "42"}}) == key_of(one, "42") != key_of(one, "43")
    assert key_of({**one, "model": "qwen3"}, "42") != key_of(one, "42")


async def test_all_forms_of_a_body_have_one_key() -> None:
    """Its members, its value, its bytes, and one that is written while it is sent."""
    body = chat(SYSTEM, user("Hello"), options={"num_ctx": 4096})
    raw = json.dumps(body).encode()
    found = members(text_of(raw))
    assert found is not None
    assert {affinity(found), affinity(body), affinity(raw), affinity(await LargeBody.of(body))} == {key_of(body)}


def test_a_large_body_without_its_values_has_no_key() -> None:
    """Its bytes have one, and so has its next turn."""
    body = chat({"role": "system", "content": "Be brief."}, user("Hello"), {"role": "assistant", "content": LONG * 4})
    raw = json.dumps({**body, "system": "You are kind."}).encode()
    found = shortened(raw).members
    assert found is not None
    assert affinity(found) == ""
    later = json.dumps({**next_turn(body, LONG), "system": "You are kind."}).encode()
    assert affinity(raw) == affinity(later) != ""


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_first_message_larger_than_what_is_read_has_a_key(first: str) -> None:
    """By its beginning; as one message, one prompt, or behind tools that are larger still."""
    large = first + LONG * 10
    assert key_of(chat(SYSTEM, user(large))) == key_of(next_turn(chat(SYSTEM, user(large))))
    assert key_of(chat(user(large))) != key_of(chat(user("c" + large)))
    assert key_of({"model": "m", "prompt": large}) == key_of({"model": "m", "prompt": large + "more"}) != ""
    assert key_of({"tools": [LONG] * 5, **chat(user("Hello"))}) == ""


def test_a_large_body_costs_no_more_than_a_small_one() -> None:
    """A list of a million numbers, 30 MB of text or a million fields: what is read is bounded."""
    raw = json.dumps(chat(SYSTEM, user("Hello"))).encode()
    small = min(timed(raw + b" " * (60_000 - len(raw))) for _ in range(5))
    numbers = b'{"model": "m", "context": [' + b"1," * 1_000_000 + b'1], "prompt": "x"}'
    text = b'{"model": "m", "prompt": "' + b"x" * 30_000_000 + b'"}'
    fields = b"{" + b'"a": 1, ' * 1_000_000 + b'"b": 1}'
    for large in (numbers, text, fields):
        # To read all of it takes 235 to 1,600 times as long as the small one.
        assert min(timed(large) for _ in range(5)) < 200 * small


def timed(body: bytes) -> float:
    """Seconds that a key takes."""
    begun = perf_counter()
    affinity(body)
    return perf_counter() - begun


def test_a_key_tells_nothing() -> None:
    """It is sixteen hexadecimal digits, whatever was asked."""
    assert set(key_of(chat(user("secret")))) <= set("0123456789abcdef")


a_name = st.sampled_from(
    ["model", "messages", "content", "role", "system", "prompt", "input", "text", "conversation", "id", "images"]
)
odd: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 3, 0.5, float("nan"), "", "user", "\ud800", "\xff", [], {}, [[1]]]
)
one_deep = odd | st.lists(odd, max_size=3) | st.dictionaries(a_name, odd, max_size=3)
any_value = one_deep | st.lists(one_deep, max_size=3) | st.dictionaries(a_name, one_deep, max_size=3)


@given(st.dictionaries(a_name, any_value))
def test_no_value_breaks_it(body: dict[str, Any]) -> None:
    """Whatever stands where a text or a list should."""
    assert affinity(body) == affinity(body)
    key_of(body)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b'{"model": "m", "prompt": "\\ud800"}', b"[" * 50_000, b"[" * 100_000],
)
@pytest.mark.parametrize("before", [b"", b'{"messages": ', b'{"messages": [', b'{"x": "' + b"y" * 70_000 + b'",'])
def test_no_bytes_break_it(raw: bytes, before: bytes) -> None:
    """What is no JSON is for the backend to refuse."""
    assert isinstance(affinity(before + raw), str)
    assert isinstance(affinity(before + raw + b" " * 70_000), str)


def test_a_body_of_too_many_fields_has_no_key() -> None:
    """It is refused elsewhere."""
    assert affinity(b"{" + b'"a": 1, ' * 1001 + b'"prompt": "x"}') == ""


@given(st.binary(max_size=200), st.integers(0, 400))
def test_a_body_that_is_cut_anywhere_is_read_as_far_as_it_goes(noise: bytes, cut: int) -> None:
    """And garbage behind it does not matter."""
    raw = json.dumps(chat(SYSTEM, user("Hello"))).encode()
    assert isinstance(affinity(raw[:cut] + noise), str)
    assert isinstance(affinity(raw[:cut] + noise + b"\0" * 70_000), str)
