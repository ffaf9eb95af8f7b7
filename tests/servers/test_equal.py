"""Whether two answers are the same: what may differ, and what may not."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.wire import Answer
from tests.servers.equal import difference, told


def _stream(*chunks: Any) -> Answer:
    body = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    return Answer(200, [("content-type", "text/event-stream; charset=utf-8")], body)


def _chunk(text: str, ident: str = "chatcmpl-1", **more: Any) -> dict[str, Any]:
    return {"id": ident, "created": 1, "choices": [{"index": 0, "delta": {"content": text}}], **more}


def test_the_cut_the_ids_and_the_times_may_differ() -> None:
    """A text in two pieces is the text in one, under another id at another time."""
    one = _stream(_chunk("Hello"), "[DONE]")
    two = _stream(_chunk("Hel", "chatcmpl-2") | {"created": 2}, _chunk("lo", "chatcmpl-2"), "[DONE]")
    assert not difference(told(one), told(two))


def test_what_is_lost_changed_or_added_is_told() -> None:
    """Another text, a member less, an id that changes in a stream, an event more or no end: each differs."""
    whole = told(_stream(_chunk("Hello"), _chunk("!", mark="x"), "[DONE]"))
    others = (
        _stream(_chunk("Hallo"), _chunk("!", mark="x"), "[DONE]"),
        _stream(_chunk("Hello"), _chunk("!"), "[DONE]"),
        _stream(_chunk("Hello"), _chunk("!", "chatcmpl-2", mark="x"), "[DONE]"),
        _stream(_chunk("Hello"), _chunk("!", mark="x"), {"error": "late"}, "[DONE]"),
        _stream(_chunk("Hello"), _chunk("!", mark="x")),
    )
    assert all(difference(whole, told(other)) for other in others)
    assert difference(whole, told(others[0])) == (
        'stream.choices.choice 0.delta.content: the server has "Hello!", the service "Hallo!"'
    )
