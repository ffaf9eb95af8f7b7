"""Ollama's frames: whole lines, first and last frame, usage."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_backend.errors import BackendFailed, BackendNonsense, StreamIncomplete
from mlops_backend.services.llm.dialects import ollama
from mlops_backend.services.llm.dialects.sse import events


def whole(chunks: list[bytes]) -> list[bytes]:
    """What comes of the chunks."""
    lines = ollama.WholeLines()
    return [piece for piece in [*map(lines.feed, chunks), lines.finish()] if piece]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if start < end]


@given(st.lists(st.text(), min_size=1), st.lists(st.integers(min_value=0)))
def test_lines_stay_whole_however_they_are_cut(texts: list[str], places: list[int]) -> None:
    """Any cutting of the same bytes comes out as the same bytes, every piece ending behind a newline."""
    data = b"".join(
        json.dumps({"response": text}, ensure_ascii=False).encode("utf-8", "replace") + b"\n" for text in texts
    )
    pieces = whole(cut(data, places))
    assert b"".join(pieces) == data
    assert all(piece.endswith(b"\n") for piece in pieces)


def test_a_last_line_without_newline_gets_one() -> None:
    """Ollama's plain JSON reply on a stream has none."""
    assert whole([b'{"done":', b"true}"]) == [b'{"done":true}\n']


def test_a_line_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that never ends its line is given up."""
    monkeypatch.setattr(ollama, "MAX_LINE_BYTES", 100)
    with pytest.raises(BackendNonsense):
        whole([b"x" * 60, b"y" * 60])


def test_the_first_line_is_checked() -> None:
    """Nothing, something else than an object, and an error are told apart."""
    ollama.check_first(b'{"response":"a"}\nrest')
    for chunk, error in ((b"", StreamIncomplete), (b"<html>\n", BackendNonsense), (b'{"error":"x"}\n', BackendFailed)):
        with pytest.raises(error):
            ollama.check_first(chunk)


def test_events_carry_the_same_json() -> None:
    """A line becomes an event; a carriage return cannot break it; an error is named."""
    assert events(b'{"a":"\xe2\x80\xa8"}\n{"b":2}\r\n') == b'data: {"a":"\xe2\x80\xa8"}\n\ndata: {"b":2}\n\n'
    assert events(b'{"error":"x"}\n') == b'event: error\ndata: {"error":"x"}\n\n'
