"""A generation's span: what a backend tells is another's word, and may be anything."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_backend.telemetry.gen_ai import Attribute, Heard, common_of, own_of
from mlops_backend.telemetry.record import RequestRecord

REASONS_TOLD = "gen_ai.response.finish_reasons"
NAMES = ("id", "model", "usage", "choices", "message", "response", "delta", "index", "object", "status")
REASONS = ("finish_reason", "stop_reason", "done_reason", "incomplete_details", "reason")
COUNTS = ("prompt_tokens_details", "cached_tokens", "completion_tokens_details", "reasoning_tokens")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES + REASONS + COUNTS) | st.text(), inner, max_size=5)
    ),
    max_leaves=20,
)


def record_with(**fields: Any) -> RequestRecord:
    """A generation that is done."""
    record = RequestRecord(id="r", method="POST")
    for name, value in {"generates": True, "outcome": "done", "status": 200, **fields}.items():
        setattr(record, name, value)
    return record


def told_by(heard: Heard, record: RequestRecord | None = None) -> dict[str, Attribute]:
    """What a span says of an answer, or of its whole generation."""
    if record is not None:
        return {**common_of(record, heard).attributes(), **own_of(record, heard).attributes()}
    told: dict[str, Attribute] = {"gen_ai.response.model": heard.model, "gen_ai.response.id": heard.id, **heard.counts}
    told[REASONS_TOLD] = heard.reasons
    return {name: value for name, value in told.items() if value not in ((), "")}


@given(st.dictionaries(st.sampled_from(NAMES + REASONS) | st.text(), ANYTHING, max_size=6))
def test_whatever_a_backend_tells_can_be_sent(told: dict[str, Any]) -> None:
    """Texts are UTF-8 and short, numbers fit into 64 bits: one that does not would keep all others from being sent."""
    heard = Heard()
    heard.take(told)
    for value in told_by(heard).values():
        for each in value if isinstance(value, tuple) else [value]:
            assert isinstance(each, str | int)
            assert len(each.encode()) <= 1024 if isinstance(each, str) else 0 <= each <= 2**63 - 1


def test_half_a_character_is_replaced() -> None:
    """JSON can tell one, UTF-8 cannot."""
    heard = Heard()
    heard.take({"model": "a\ud800b", "done_reason": "\udfff"})
    assert told_by(heard) == {"gen_ai.response.model": "a?b", "gen_ai.response.finish_reasons": ("?",)}


def test_counts_that_are_none_are_bounded() -> None:
    """A backend's nonsense fits into 64 bits."""
    told = told_by(Heard(), record_with(prompt_tokens=2**70, completion_tokens=-1))
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (10**12, 0)
    heard = Heard()
    heard.take({"usage": {"cache_read_input_tokens": 2**70, "cache_creation_input_tokens": -1}})
    assert told_by(heard) == {}


def test_each_of_several_answers_has_its_reason() -> None:
    """In the order of the answers, and no more than sixteen."""
    heard = Heard()
    heard.take({"choices": [{"index": 1, "finish_reason": "length"}, {"index": 0, "finish_reason": "stop"}]})
    assert heard.reasons == ("stop", "length")
    for index in range(100):
        heard.take({"choices": [{"index": index, "finish_reason": "stop"}]})
    assert len(heard.reasons) == 16


def test_anthropics_caches_are_told() -> None:
    """What was read from one, and what was put into it."""
    heard = Heard()
    usage = {"input_tokens": 3, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 7}
    heard.take({"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": usage}})
    heard.take({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}})
    assert told_by(heard) == {
        "gen_ai.response.id": "msg_1",
        "gen_ai.response.model": "m",
        "gen_ai.response.finish_reasons": ("end_turn",),
        "gen_ai.usage.cache_read.input_tokens": 5,
        "gen_ai.usage.cache_creation.input_tokens": 7,
    }


def test_a_response_that_is_not_whole_says_why() -> None:
    """Of the Responses API, the reason where there is one, else its status."""
    for told, reason in (
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "max_output_tokens"),
        ({"status": "completed", "incomplete_details": None}, "completed"),
    ):
        heard = Heard()
        heard.take({"type": "response.completed", "response": {"object": "response", **told}})
        assert heard.reasons == (reason,)


@pytest.mark.parametrize(
    ("asked_path", "route", "operation"),
    [
        ("/api/chat", "/api/database/conversations/<id>/replies", "chat"),
        ("/v1/audio/transcriptions", "/v1/audio/transcriptions", "transcription"),
        ("/v1/completions", "/v1/completions", "text_completion"),
        ("/v1/embeddings", "/v1/embeddings", "embeddings"),
        ("", "/api/llm/stream", "text_completion"),
        ("/whatever/a/client/wrote", "/extra/<path:rest>", "extra"),
        ("", "", "unknown"),
    ],
)
def test_an_operation_has_a_name(asked_path: str, route: str, operation: str) -> None:
    """That of the conventions, else what the route is called: never a client's words."""
    assert common_of(record_with(asked_path=asked_path, route=route), Heard()).operation == operation


@pytest.mark.parametrize(
    ("outcome", "error", "status", "expected"),
    [
        ("error", "backend_refused", 502, "backend_refused"),
        ("refused", "", 404, "404"),
        ("error", "", 500, "500"),
        ("client_gone", "", 499, "client_gone"),
        ("cancelled", "", 200, "cancelled"),
    ],
)
def test_an_error_has_a_type(outcome: str, error: str, status: int, expected: str) -> None:
    """Our code, else the status, else how it ended."""
    assert common_of(record_with(outcome=outcome, error=error, status=status), Heard()).failure == expected


def test_counts_that_are_guesses_are_told_as_such() -> None:
    """Beside the counts themselves; and a port that the address leaves out is its scheme's."""
    told = told_by(Heard(), record_with(estimated=True, prompt_tokens=1, upstream_url="https://h/v1/x"))
    assert (told["mlops_backend.usage.estimated"], told["server.port"], told["server.address"]) == (True, 443, "h")
