"""A conversation as Markdown: what was said stands there as it was said, and stays within its own part."""

from __future__ import annotations

import base64
import json
import re
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_backend.services.other.conversations.markdown import pieces
from mlops_backend.services.other.conversations.rows import Conversation, Message, StoredImage
from mlops_backend.services.other.conversations.writes import begun

NOON: Final = 1_769_860_800_000
PICTURE: Final = StoredImage("0" * 64, "image/png", 3)


def conversation(title: str = "About colours", model: str = "") -> Conversation:
    """A conversation of no messages that it knows of."""
    return begun("key", title, model, NOON, NOON + 60_000)


def message(role: str, content: str = "", **more: Any) -> Message:
    """A message."""
    return Message(id="0" * 32, sequence=1, role=role, content=content, **more)


def text_of(*messages: Message, title: str = "About colours", model: str = "") -> str:
    """The whole text."""
    return "".join(pieces(conversation(title, model), messages, {PICTURE.hash: b"abc"}))


def test_a_conversation_reads_well() -> None:
    """Title, dates and model, then who said what, each behind a heading, with a line between all of them."""
    told = text_of(
        message("system", "Be brief."),
        message("user", "Name a colour."),
        message("assistant", "Blue.", model="smollm2:135m", outcome="done"),
        message("tool", "12 °C", tool_name="weather"),
        model="smollm2:135m",
    )
    assert told == (
        "# About colours\n\n"
        "Begun 2026-01-31 12:00 UTC, last changed 2026-01-31 12:01 UTC, model smollm2:135m\n\n"
        "## System\n\nBe brief.\n\n"
        "## User\n\nName a colour.\n\n"
        "## Assistant (smollm2:135m)\n\nBlue.\n\n"
        "## Tool (weather)\n\n12 °C\n"
    )


def test_a_call_is_written_for_people() -> None:
    """In its own letters, a member in each line."""
    told = text_of(message("assistant", tool_calls=[{"function": {"arguments": {"ort": "Köln"}}}]))
    assert '\n        "ort": "Köln"\n' in told


def test_replaced_replies_are_left_out() -> None:
    """What another reply took the place of is not shown."""
    told = text_of(message("assistant", "old", replaced_at=NOON), message("assistant", "new"))
    assert "new" in told
    assert "old" not in told


@pytest.mark.parametrize("outcome", ["error", "timeout", "client_gone", "drained"])
def test_a_reply_that_was_cut_short_says_so(outcome: str) -> None:
    """A remark stands before it, with how it ended; a whole one has none."""
    told = text_of(message("assistant", "Blu", outcome=outcome))
    remark = f"## Assistant\n\n*This reply was cut short: {outcome.replace('_', chr(92) + '_')}.*\n\nBlu\n"
    assert told.endswith(remark)
    assert "cut short" not in text_of(message("assistant", "Blue", outcome="done"))


@given(st.text())
def test_content_is_as_it_was_said(content: str) -> None:
    """Not a mark of it is changed, whatever it is."""
    assert content in text_of(message("user", content))


def test_thinking_is_a_quotation() -> None:
    """Each line of it, whatever ends lines, stands behind a mark of its own."""
    told = text_of(message("assistant", "Blue.", thinking="Hm.\r\n\r\n# So\rblue\n```\nit is"))
    assert "\n> **Thinking**\n>\n> Hm.\n>\n> # So\n> blue\n> ```\n> it is\n\nBlue.\n" in told


def test_images_are_in_it() -> None:
    """An image is its bytes, also without a word beside it."""
    told = text_of(message("user", images=[PICTURE, PICTURE]))
    shown = f"![image](data:image/png;base64,{base64.b64encode(b'abc').decode()})"
    assert told.endswith(f"## User\n\n{shown}\n\n{shown}\n")


@given(st.lists(st.dictionaries(st.text(), st.text(alphabet="`~a\n")), min_size=1))
def test_calls_of_tools_are_fenced_json(calls: list[dict[str, Any]]) -> None:
    """They can be read back from between two fences that are longer than any in them."""
    told = text_of(message("assistant", tool_calls=calls))
    found = re.search(r"\n\n(`{3,})json\n(.*)\n\1\n\Z", told, re.DOTALL)
    assert found is not None
    assert json.loads(found[2]) == calls
    assert found[1] not in found[2]


@pytest.mark.parametrize(
    ("title", "heading"),
    [
        ("", "# Untitled"),
        ("a\nb\u2028c\x00d", "# a b c d"),
        ("*bold* _it_ `code`", r"# \*bold\* \_it\_ \`code\`"),
        ("C#", r"# C\#"),
        ("<b> & [a](b) | ~x~ \\", r"# \<b\> \& \[a\](b) \| \~x\~ \\"),
        ("日本 🎉", "# 日本 🎉"),
    ],
)
def test_a_title_stays_a_heading(title: str, heading: str) -> None:
    """It is one line, and its marks are letters."""
    assert text_of(title=title).split("\n")[0] == heading


@pytest.mark.parametrize(
    ("content", "end"),
    [
        ("```python\nx = 1", "```"),
        ("````\n```\ncode", "````"),
        ("~~~ `a`\ncode\n```", "~~~"),
        ("1. so\n\n   ```\n   code", "   ```"),
        ("```\na\n```\n```\nb", "```"),
        ("```\na\n``` b", "```"),
        ("```\na\n~~~", "```"),
        ("```\na\n```", ""),
        ("```\na\n`````  ", ""),
        ("``` a` b", ""),
        ("no ``` fence", ""),
    ],
)
def test_an_open_fence_is_closed(content: str, end: str) -> None:
    """A reply that ends inside of code does not make code of what follows; one that does not is left alone."""
    told = text_of(message("assistant", content), message("user", "Go on."))
    assert f"\n\n{content}\n{end}{chr(10) if end else ''}\n## User" in told
