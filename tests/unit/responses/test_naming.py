"""Responses with the names that their clients are told."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_backend.services.other.responses.naming import NamedEnding, Naming
from mlops_backend.telemetry.record import RequestRecord
from tests.unit.dialects.test_frames import cut

NAMING: Final = Naming("resp_ours", "resp_before", stored=True)
TOLD: Final = {"id": "resp_ours", "store": True, "previous_response_id": "resp_before"}


def event(kind: str, **fields: Any) -> bytes:
    """One event, spelt with spaces as no server here does."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def response(**fields: Any) -> dict[str, Any]:
    """A response as some server has it."""
    return {"object": "response", "id": "resp_7", "status": "x", "text": '{"response":{"id":1}}', **fields}


STREAM: Final = b"".join(
    [
        event("response.created", response=response(store=False)),
        b": a comment\n\n",
        event("response.output_text.delta", delta='a "response":{"id":"x"}'),
        event("response.output_text.delta", delta="response", response="response"),
        event("response.completed", response=response(output=[], previous_response_id=None)),
    ]
)


class Kept:
    """What is kept, and whether anything more is waited for."""

    def __init__(self, *, keeps: bool = True) -> None:
        self.told: list[str] = []
        self.waits = True
        self._keeps = keeps

    def __call__(self, response: str) -> bool:
        """Take a response."""
        self.told.append(response)
        return self._keeps

    def let_go(self) -> None:
        """Nothing more is waited for."""
        self.waits = False


def passed(chunks: list[bytes], naming: Naming = NAMING, *, keeps: bool = True) -> tuple[bytes, list[str]]:
    """What a client gets of a stream, and what is kept."""
    kept, record = Kept(keeps=keeps), RequestRecord(id="x", method="POST")
    ending = NamedEnding(naming, kept)
    sent = b"".join(ending.feed(chunk) for chunk in chunks) + ending.rest()
    ending.finish(record)
    ending.settle(record)
    assert not kept.waits
    return sent, kept.told


@settings(max_examples=60)
@given(st.lists(st.integers(min_value=0), max_size=6))
def test_a_stream_is_named_however_it_is_cut(places: list[int]) -> None:
    """Whole responses are; all other characters stay, and what is kept is what was sent last."""
    sent, kept = passed(cut(STREAM, places))
    frames, originals = sent.split(b"\n\n"), STREAM.split(b"\n\n")
    assert frames[1:4] == originals[1:4]
    for frame, original in ((frames[0], originals[0]), (frames[4], originals[4])):
        told, was = (json.loads(each.partition(b"data: ")[2])["response"] for each in (frame, original))
        assert told == {**was, **TOLD}
    assert json.loads(kept[0]) == json.loads(frames[4].partition(b"data: ")[2])["response"]
    assert len(kept) == 1


def test_what_is_not_kept_says_so() -> None:
    """It was told at the beginning that it would be."""
    sent, _ = passed([STREAM], keeps=False)
    assert sent.count(b'"store":true') + sent.count(b'"store": true') == 1
    assert json.loads(sent.split(b"\n\n")[4].partition(b"data: ")[2])["response"]["store"] is False


def test_one_that_is_only_continued_keeps_its_backends_id() -> None:
    """Nothing is kept of it."""
    sent, kept = passed([STREAM], Naming("", "resp_before", stored=False))
    assert b"resp_7" in sent
    assert b"resp_ours" not in sent
    assert kept == []


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b'{"error":{}}', b'{"object":"list"}', b"\xff", b'{"response":7}'])
async def test_what_is_no_response_stays(body: bytes) -> None:
    """Whole, and in a stream."""
    assert await NAMING.whole(200, body, Kept()) == body
    ending = NamedEnding(NAMING, Kept())
    assert ending.feed(b"data:" + body + b"\n\n") == b"data:" + body + b"\n\n"


async def test_a_whole_answer_is_named() -> None:
    """And kept as it is sent."""
    kept = Kept()
    body = json.dumps(response()).encode() + b"\n"
    sent = await NAMING.whole(200, body, kept)
    assert json.loads(sent) == {**response(), **TOLD}
    assert (kept.told, kept.waits) == ([sent.decode()], False)
    assert await NAMING.whole(400, body, kept) == body
