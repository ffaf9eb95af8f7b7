"""What is noted of a request."""

from __future__ import annotations

import pytest

from mlops_backend.telemetry.record import RequestRecord


def blank() -> RequestRecord:
    """The record of a request that has begun."""
    return RequestRecord(id="r", method="POST")


@pytest.mark.parametrize(
    ("named", "noted"),
    [
        ("library/llama3:latest", "library/llama3:latest"),
        ("x" * 7_000_000, "x" * 256),
        ("\x1b[31mred\r\nline", "?[31mred??line"),
        ("\ud800", "\\ud800"),
        ("modèle", "mod\\xe8le"),
    ],
)
def test_a_models_name_is_harmless_in_a_log(named: str, noted: str) -> None:
    """Clients may put anything there: it is bounded, and nothing in it is obeyed by a terminal."""
    record = blank()
    record.name_model(named)
    assert record.model == noted


def test_only_what_is_missing_is_estimated() -> None:
    """A count that the backend told stays."""
    record = blank()
    record.count_prompt = lambda: 11
    record.completion_tokens = 7
    record.estimate(99)
    assert (record.prompt_tokens, record.completion_tokens, record.estimated) == (11, 7, True)


def test_nothing_is_not_an_estimate() -> None:
    """A sound file has no text to count."""
    record = blank()
    record.count_prompt = lambda: 0
    record.estimate(0)
    assert (record.prompt_tokens, record.completion_tokens, record.estimated) == (None, None, False)
