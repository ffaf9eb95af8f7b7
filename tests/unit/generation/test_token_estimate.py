"""The guess at a prompt's tokens."""

from __future__ import annotations

import json
from time import perf_counter
from typing import Any

import pytest

from mlops_backend.services.llm.generation.token_estimate import estimate_prompt_tokens

TEXT = "The sky is blue. " * 40


def guess(**body: Any) -> int:
    """The guess for a body."""
    return estimate_prompt_tokens(json.dumps(body).encode())


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": TEXT},
        {"messages": [{"role": "user", "content": TEXT}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": TEXT}]}]},
        {"system": [{"type": "text", "text": TEXT}], "messages": []},
        {"input": [TEXT[:340], TEXT[340:]]},
        {"prompt": list(range(170))},
        {"input": [[1] * 100, [2] * 75]},
        {"prompt": TEXT, "file_data": "x" * 999, "signature": "x" * 999, "x": "data:image/png;base64," + "x" * 9999},
        {"prompt": TEXT, "images": ["x" * 100_000], "options": {"stop": ["x" * 999]}, "model": "m" * 999},
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x" * 999}}], "x": TEXT}
            ]
        },
    ],
)
def test_texts_count_and_nothing_else_does(body: dict[str, Any]) -> None:
    """Four characters a token in every dialect; images, options and names of models are no text."""
    assert 170 <= guess(**body) <= 185


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"text"', b"\xff"])
def test_what_is_no_object_has_no_tokens(body: bytes) -> None:
    """A form, or nothing."""
    assert estimate_prompt_tokens(body) == 0


@pytest.mark.parametrize(
    "body", [b'{"x":"\\ud800","prompt":"%s"}', b'{"x":"\xff","prompt":"%s"}', b' {"prompt":"%s"} and more']
)
def test_what_only_go_reads_counts_too(body: bytes) -> None:
    """Ollama takes half a surrogate pair, bytes that are not UTF-8, and anything behind the object."""
    assert 170 <= estimate_prompt_tokens(body % TEXT.encode()) <= 185


def test_the_guess_takes_little_time_for_any_body() -> None:
    """It is made on the event loop."""
    wide = b'{"x":[' + b"{}," * 1_000_000 + b"{}]}"
    deep = b'{"x":' + b"[" * 150 + b"]" * 150 + b"}"
    started = perf_counter()
    assert estimate_prompt_tokens(wide) + estimate_prompt_tokens(deep) == 0
    assert perf_counter() - started < 5


def test_pictures_and_sounds_count_nothing() -> None:
    """However many there are: their tokens are none of their letters."""
    told = ["data:image/png;base64," + "x" * 99] * 1000
    assert guess(prompt=TEXT, x=told) == guess(prompt=TEXT)
