"""The text of a reply, put together from its lines."""

from __future__ import annotations

import pytest

from mlops_backend.services.other.conversations import reply_text
from mlops_backend.services.other.conversations.reply_text import ReplyText


def text_of(*lines: bytes) -> ReplyText:
    """What such lines tell."""
    text = ReplyText()
    for line in lines:
        text.add(line)
    text.read()
    return text


def said(content: bytes) -> bytes:
    """A line with some JSON of a text."""
    return b'{"model":"m","message":{"role":"assistant","content":"' + content + b'"},"done":false}\n'


def test_lines_come_in_any_portions() -> None:
    """Several lines in one chunk are as good as one each; what is none is passed over."""
    assert text_of(said(b"a") + said(b"b"), b"no json\n[1]\n", said(b"c")).content == "abc"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (rb"\ud83d\ude00", "\U0001f600"),
        (rb"x\ud83d", "x\ufffd"),
        (b"\xff", "\ufffd"),
        (rb"\u0000", "\0"),
        (rb"\u2028", "\u2028"),
    ],
)
def test_odd_texts_are_read_as_browsers_read_them(written: bytes, text: str) -> None:
    """Half of a surrogate pair, or bytes that are no UTF-8, become the replacement character; all else stays."""
    assert text_of(said(b"a"), said(written), said(b"b")).content == f"a{text}b"


def test_a_tools_nan_is_not_kept() -> None:
    """What is no JSON could not be told to anybody again."""
    line = b'{"model":"m","message":{"tool_calls":[{"function":{"arguments":{"x":NaN}}},{"function":{"name":"f"}}]}}\n'
    assert text_of(line).tool_calls == [{"function": {"name": "f"}}]


def test_tool_calls_without_end_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """They count as they are written; equal ones are as many as were made."""
    line = b'{"model":"m","message":{"tool_calls":[{"function":{"name":"f"}}]}}\n'
    monkeypatch.setattr(reply_text, "LONGEST", 70)
    text = text_of(line, line, line, line)
    assert (len(text.tool_calls), text.too_long) == (2, True)


def test_a_text_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply takes no more memory than a bound, and says so."""
    monkeypatch.setattr(reply_text, "LONGEST", 5)
    text = text_of(said(b"abc"), said(b"def"), said(b"g"))
    assert (text.content, text.too_long) == ("abc", True)


@pytest.mark.parametrize("name", ["content", "thinking"])
def test_what_is_too_long_is_so_wherever_it_stands(name: str) -> None:
    """A thought counts as a text does."""
    text = ReplyText()
    text.take({"message": {name: "x" * (reply_text.LONGEST + 1)}})
    assert (text.too_long, text.content, text.thinking) == (True, "", "")
