"""Ollama's frames: whole lines, first and last frame, usage."""

from __future__ import annotations

import pytest

from mlops_backend.errors import BackendFailed, BackendNonsense, StreamIncomplete
from mlops_backend.services.llm.dialects import ollama
from mlops_backend.services.llm.dialects.sse import events


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
