"""Titles that are made from messages, and those that are given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mlops_backend.schemas.conversations.bodies import CreateConversationRequest
from mlops_backend.services.other.conversations.rows import LONGEST_MADE_TITLE, title_from

FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
PERSIAN = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
HEBREW = "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd"
SAID = {
    "a word": ("Hello", "Hello"),
    "nothing": ("", ""),
    "blanks": (" \r\n\t\u00a0\u3000\u2028 ", ""),
    "lines": ("  one\n\ntwo\tthree\r\n", "one two three"),
    "controls": ("a\0b\x1b[31mc\x7f", "a b [31mc"),
    "separators": ("one\u2028two\u0085three", "one two three"),
    "a direction that is turned": ("abc\u202edef\u202c", "abc def"),
    "eighty": ("x" * 80, "x" * 80),
    "more without a space": ("x" * 81, "x" * 79 + "…"),
    "more in words": ("word " * 20, "word " * 14 + "word…"),
    "a word to the edge": ("x" * 79 + " y", "x" * 79 + "…"),
    "one long word behind a short one": ("a " + "x" * 90, "a…"),
    "an emoji of several": (f"my {FAMILY} there", f"my {FAMILY} there"),
    "a joiner within a word": (PERSIAN, PERSIAN),
    "from right to left": (HEBREW, HEBREW),
    "marks on letters": ("e\u0301 n\u0303", "e\u0301 n\u0303"),
    "far behind blanks": ("\n" * 5000 + "Hello", "Hello"),
}
GIVEN = (
    "x",
    "x" * 200,
    FAMILY,
    PERSIAN,
    HEBREW,
    "\u00ab\u00a0quoi\u202f?\u00a0\u00bb",
    "a\u3000b",
    "'; DROP TABLE x --",
)
REFUSED = ("", " ", " x", "x\n", "a\nb", "a\tb", "a\0b", "a\x7fb", "a\u202eb", "a\u2028b", "x" * 201)


@pytest.mark.parametrize(("text", "title"), SAID.values(), ids=SAID)
def test_a_title_is_one_line_of_a_message(text: str, title: str) -> None:
    """Its beginning, with single spaces, without what cannot be shown, of whole words where there are any."""
    assert title_from(text) == title


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_a_made_title_could_have_been_given(text: str) -> None:
    """Whatever is said: at most eighty characters, and what a client may send; made again it is the same."""
    title = title_from(text)
    assert len(title) <= LONGEST_MADE_TITLE
    assert title_from(title) == title
    if title:
        CreateConversationRequest.model_validate({"title": title})


@pytest.mark.parametrize("title", GIVEN)
def test_a_title_may_be_any_line(title: str) -> None:
    """In any script, with emoji of several signs and with spaces that do not break."""
    assert CreateConversationRequest.model_validate({"title": title}).title == title


@pytest.mark.parametrize("title", REFUSED)
def test_a_title_may_not_be_more(title: str) -> None:
    """Not empty, not padded, not several lines, nothing that turns a line around, at most 200 characters."""
    with pytest.raises(ValidationError):
        CreateConversationRequest.model_validate({"title": title})
