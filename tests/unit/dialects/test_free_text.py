"""The text that a model writes for a tool which takes a text: exact where it is valid, and else as it was written."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_backend.services.llm.dialects.openai.free_text import FreeText, free_text

texts = st.text(st.characters(exclude_categories=["Cs"]))
# What has a meaning in JSON comes often.
awkward = st.text(st.sampled_from('"\\{}[],: \n\tinputu0123dD89abfF\U0001f600é'))
places = st.lists(st.integers(min_value=0), max_size=8)


def read(written: str, cuts: list[int]) -> str:
    """The text, of what comes in these pieces."""
    ends = sorted({0, len(written), *(cut % (len(written) + 1) for cut in cuts)})
    reader = FreeText()
    return "".join(reader.feed(written[start:end]) for start, end in pairwise(ends)) + reader.end()


@given(st.one_of(texts, awkward), st.booleans(), st.sampled_from([None, 0, 2]), places)
def test_a_text_arrives_exactly_however_it_is_cut(
    text: str, ascii_only: bool, indent: int | None, cuts: list[int]
) -> None:
    """Escapes, pairs of surrogates and quotation marks within it, with any space around."""
    assert read(json.dumps({"input": text}, ensure_ascii=ascii_only, indent=indent), cuts) == text


@given(awkward, st.dictionaries(awkward.filter(lambda name: name != "input"), awkward, min_size=1, max_size=3), places)
def test_other_members_are_left_out(text: str, others: dict[str, str], cuts: list[int]) -> None:
    """Behind it, and before it."""
    assert read(json.dumps({"input": text, **others}), cuts) == text
    assert read(json.dumps({**others, "input": text}), cuts) == text


@given(st.one_of(awkward, awkward.map('{{"input":"{}'.format), awkward.map('{{"input": "{}"}}'.format)), places)
def test_what_is_written_is_the_same_however_it_is_cut(written: str, cuts: list[int]) -> None:
    """Whatever it is."""
    assert read(written, cuts) == read(written, []) == free_text(written)


@given(texts, places)
def test_every_character_cut_apart(text: str, cuts: list[int]) -> None:
    """One at a time, in the longest of spellings; what is given at any time begins the text, and little is held."""
    spelt = text.encode("utf-16-be")
    units = [int.from_bytes(spelt[at : at + 2]) for at in range(0, len(spelt), 2)]
    reader, told = FreeText(), ""
    for piece in '{"input":"' + "".join(f"\\u{unit:04x}" for unit in units) + '"}':
        told += reader.feed(piece)
        assert text.startswith(told)
    whole = reader.is_whole
    assert (told + reader.end(), whole) == (text, True)


LENIENT: dict[str, tuple[str, str]] = {
    "no object": ("*** Begin Patch\n", "*** Begin Patch\n"),
    "nothing": ("", ""),
    "an empty object": ("{}", "{}"),
    "another name": ('{"patch": "a\\nb"}', "a\nb"),
    "several others": ('{"a": "b", "c": "d"}', '{"a": "b", "c": "d"}'),
    "no text": ('{"input": ["a"]}', '{"input": ["a"]}'),
    "a text alone": ('"a\\"b"', 'a"b'),
    "the text of an object": (json.dumps('{"input":"a"}'), "a"),
    "a list": ('["a"]', '["a"]'),
    "a number": ("7", "7"),
    "half an object": ('{"inp', '{"inp'),
    "half a text": ('{"input":"a\\n', "a\n"),
    "half an escape": ('{"input":"a\\u00', "a\\u00"),
    "a backslash at the end": ('{"input":"a\\', "a\\"),
    "no end of the object": ('{"input":"a"', "a"),
    "an unknown escape": ('{"input":"\\d+\\x"}', "\\d+\\x"),
    "lines as they are": ('{"input":"a\nb"}', "a\nb"),
    "quotation marks as they are": ('{"input":"say("hi", "you");"}', 'say("hi", "you");'),
    "one bracket too many": ('{"input":"a"}}', "a"),
    "half a pair": ('{"input":"\\ud83dx"}', "\N{REPLACEMENT CHARACTER}x"),
    "the other half": ('{"input":"\\ude00"}', "\N{REPLACEMENT CHARACTER}"),
    "two first halves": ('{"input":"\\ud83d\\ud83d\\ude00"}', "\N{REPLACEMENT CHARACTER}\U0001f600"),
}


@pytest.mark.parametrize("name", LENIENT)
def test_what_is_no_such_object_is_handed_over(name: str) -> None:
    """As it was written, or what can be made of it."""
    written, text = LENIENT[name]
    assert read(written, []) == read(written, list(range(len(written)))) == free_text(written) == text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"input": "a"}, "a"), ({"patch": "a"}, "a"), ({}, ""), ({"input": 7}, '{"input":7}'), (None, ""), (7, "")],
)
def test_arguments_that_are_an_object(arguments: Any, text: str) -> None:
    """As an Ollama tells them."""
    assert free_text(arguments) == text


@pytest.mark.parametrize(
    "start", ['{"input":"', '{"input":"a"', '{"input":"a","', '{"input":"a"}', '{"input":"\\', "  "]
)
@pytest.mark.parametrize("unit", ["x", '"', "\\", " ", "}", '",', "\\ud83d"])
def test_little_is_held(start: str, unit: str) -> None:
    """Of an endless text; and it is the same at once."""
    reader = FreeText()
    told = reader.feed(start)
    for _ in range(3000):
        told += reader.feed(unit)
        assert len(reader._held) <= 1100
    assert told + reader.end() == free_text(start + 3000 * unit)


def test_something_else_is_held_up_to_a_bound() -> None:
    """It is handed over as it is then."""
    reader = FreeText()
    piece = '{"a":"' + "x" * 1024 * 1024
    told = [reader.feed(piece) for _ in range(9)]
    assert "".join(told) == 9 * piece
    assert told[:7] == 7 * [""]
    assert reader.feed("more") == "more"
