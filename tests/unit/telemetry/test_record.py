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
        ("\ud800", "?"),
        ("\u202elatin", "?latin"),
        ("modèle", "modèle"),
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


def test_a_count_of_zero_beside_a_text_is_none() -> None:
    """The text was counted here, so the backend did not."""
    record = blank()
    record.count_prompt = lambda: 11
    record.prompt_tokens, record.completion_tokens = 5, 0
    assert record.lacks_usage
    record.estimate(0)
    assert (record.prompt_tokens, record.completion_tokens, record.estimated) == (5, 0, False)
    record.estimate(17)
    assert (record.prompt_tokens, record.completion_tokens, record.estimated) == (5, 17, True)


def test_counts_that_are_not_believed_are_estimated() -> None:
    """Both of them, whatever the backend told."""
    record = blank()
    record.count_prompt = lambda: 11
    record.prompt_tokens, record.completion_tokens = 500, 700
    assert not record.lacks_usage
    record.doubted = True
    assert record.lacks_usage
    record.estimate(17)
    assert (record.prompt_tokens, record.completion_tokens, record.estimated) == (11, 17, True)


@pytest.mark.parametrize(
    ("said", "noted"),
    [
        ("worker 3 died:\r\n\x1b[31mSIGKILL", "worker 3 died:   [31mSIGKILL"),
        ("x " * 7_000_000, "x " * 100),
        ("Incorrect API key provided: sk-proj-abc.", "Incorrect API key provided: ***"),
        ("Authorization: Bearer abc refused", "Authorization: Bearer *** refused"),
        ("no answer of http://me:secret@host:80/v1", "no answer of http://***@host:80/v1"),
        ("key 0123456789abcdef0123456789abcdef is unknown", "key *** is unknown"),
        ("model Qwen3-8B-Instruct is not loaded", "model Qwen3-8B-Instruct is not loaded"),
    ],
)
def test_what_a_backend_said_is_harmless_in_a_log(said: str, noted: str) -> None:
    """It is bounded, of one line, and holds nothing that looks like a key."""
    record = blank()
    record.fail("backend_error_line", said)
    assert (record.outcome, record.error, record.said) == ("error", "backend_error_line", noted)
    assert record.fields(0)["said"] == noted


def test_nothing_is_not_an_estimate() -> None:
    """A sound file has no text to count."""
    record = blank()
    record.count_prompt = lambda: 0
    record.estimate(0)
    assert (record.prompt_tokens, record.completion_tokens, record.estimated) == (None, None, False)


def test_the_log_tells_both_names_of_a_model() -> None:
    """Where there are two."""
    record = blank()
    record.name_model("llama3")
    assert "requested_model" not in record.fields(0)
    record.requested_model = "fast"
    assert (record.fields(0)["requested_model"], record.fields(0)["model"]) == ("fast", "llama3")
