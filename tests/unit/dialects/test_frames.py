"""Frames: the same bytes, cut only where an object ends."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_backend.errors import BackendNonsense
from mlops_backend.services.llm.dialects import frames
from mlops_backend.services.llm.dialects.frames import EVENT, LINE, Frames

BOUNDARIES = st.sampled_from([(LINE, b"", b"\n"), (EVENT, b"data: ", b"\n\n"), (EVENT, b"data: ", b"\r\n\r\n")])


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if start < end]


@given(BOUNDARIES, st.lists(st.text(), min_size=1), st.lists(st.integers(min_value=0)))
def test_frames_stay_whole_however_they_are_cut(
    kind: tuple[re.Pattern[bytes], bytes, bytes], texts: list[str], places: list[int]
) -> None:
    """Any cutting of the same bytes comes out as the same bytes, every piece ending where a frame ends."""
    boundary, start, end = kind
    objects = [json.dumps({"response": text}, ensure_ascii=False).encode("utf-8", "replace") for text in texts]
    data = b"".join(start + each + end for each in objects)
    whole = Frames(boundary)
    pieces = [piece for piece in map(whole.feed, cut(data, places)) if piece]
    assert b"".join(pieces) == data
    assert all(piece.endswith(end) for piece in pieces)
    assert whole.rest() == b""


def test_a_whole_chunk_is_passed_as_it_is() -> None:
    """The very same bytes object, not a copy."""
    chunk = b'{"response":"a"}\n'
    assert Frames(LINE).feed(chunk) is chunk


def test_what_was_never_ended_is_the_rest() -> None:
    """It can be asked for once."""
    whole = Frames(LINE)
    assert whole.feed(b"one\ntw") == b"one\n"
    assert (whole.rest(), whole.rest()) == (b"tw", b"")


@pytest.mark.parametrize("boundary", [LINE, EVENT])
def test_a_frame_has_a_bound(boundary: re.Pattern[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that never ends its object is given up."""
    monkeypatch.setattr(frames, "MAX_FRAME_BYTES", 100)
    whole = Frames(boundary)
    assert whole.feed(b"x" * 60) == b""
    with pytest.raises(BackendNonsense):
        whole.feed(b"y" * 60)
