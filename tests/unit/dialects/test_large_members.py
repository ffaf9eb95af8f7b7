"""The members of a large object are found where they are found when all of it is read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_backend.errors import InvalidJSON
from mlops_backend.services.llm.dialects import in_full, members, places, text_of, value_in, value_of
from mlops_backend.services.llm.dialects.openai import read_body

TEXTS = st.text(st.characters(codec=None, exclude_categories=[]), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
SPACES = st.sampled_from(["", " ", "\n\t ", "\r\n"])


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """An object's text, spaced and escaped in any way; some names stand twice."""
    parts = []
    for name, value in draw(st.lists(st.tuples(TEXTS | st.sampled_from(["model", "Model"]), JSON), max_size=5)):
        space, ascii_ = draw(SPACES), draw(st.booleans())
        parts.append(space + json.dumps(name) + space + ":" + space + json.dumps(value, ensure_ascii=ascii_) + space)
    text = draw(SPACES) + "{" + ",".join(parts) + "}" + draw(st.sampled_from(["", " ", "x", "{}", ',"a":1}']))
    return text.encode("utf-8", "surrogatepass")


@given(objects())
@settings(max_examples=200, deadline=None)
def test_they_are_those_of_the_whole(body: bytes) -> None:
    """Names, places and order; texts that are no Unicode included, and whatever follows the object."""
    text = text_of(body)
    found = members(text)
    assert found is not None
    told = places(body)
    assert told is not None
    assert [(each.name, body[each.start : each.end]) for each in told] == [
        (each.name, text[each.start : each.end].encode("utf-8", "surrogateescape")) for each in found
    ]


CASES: dict[str, bytes] = {
    "no object": b"[1]",
    "nothing": b"",
    "not closed": b'{"a":1',
    "an open text": b'{"a":"x',
    "a comma too many": b'{"a":1,}',
    "a line break in a text": b'{"a":"\n"}',
    "no JSON": b"hello",
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_no_object_has_none(name: str) -> None:
    """As where it is small, and no longer: its backend refuses it, or the service does."""
    assert places(CASES[name]) is None
    assert in_full(CASES[name]).members is None
    large = CASES[name] + b" " * 300_000
    assert value_of(large) in (None, [1])
    with pytest.raises(InvalidJSON, match="not a JSON object"):
        read_body(large.replace(b" ", b"x") + b"x")


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (rb'"\ud83d\ude00"', "😀"),
        (rb'"\ud83d"', "\ufffd"),
        (rb'"\ude00\ud83dx"', "\ufffd\ufffdx"),
        (rb'"\\ud83d"', "\\ud83d"),
        (rb'"\\\ud83d"', "\\\ufffd"),
        (rb'"\\ud83d\ude00 \ud800"', "\\ud83d\ufffd \ufffd"),
        (b'"\xff"', "\ufffd"),
        (b'"\xc3\xa9\\ud800"', "é\ufffd"),
    ],
)
def test_what_is_no_text_is_replaced(raw: bytes, value: Any) -> None:
    """Half a pair, and bytes that are no UTF-8, as Go does it; a pair and a backslash before letters stay."""
    assert value_in(raw) == value


def test_a_large_body_is_read_as_a_small_one() -> None:
    """Under Go's names; the last of several wins, and `null` is not there."""
    more = b'"MODEL":"a","model":"b","x":null,"prompt":"\\ud800 \xff"'
    small = read_body(b"{%b}" % more)
    large = read_body(b'{%b,"long":"%b"}' % (more, b"x" * 300_000))
    assert large.pop("long") == "x" * 300_000
    assert large == small == {"model": "b", "prompt": "\ufffd \ufffd"}
