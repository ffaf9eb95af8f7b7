"""How many tokens a request may be answered with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlops_backend.services.llm.asked import EMBED, GENERATE, MESSAGES, OPENAI_GENERATE, RESPONSES, Task, read_asked
from mlops_backend.services.llm.generation.token_maximum import output_of


@pytest.mark.parametrize(
    ("task", "path", "body", "most"),
    [
        (GENERATE, "/api/generate", {"options": {"num_predict": 7}}, 7),
        (GENERATE, "/api/generate", {"Options": {"NUM_PREDICT": 7}}, 7),
        (GENERATE, "/api/generate", {"options": {"num_predict": -1}}, None),
        (GENERATE, "/api/generate", {"options": {"num_predict": 0}}, None),
        (GENERATE, "/api/generate", {"options": {"num_predict": 7, "Num_Predict": -2}}, None),
        (GENERATE, "/api/generate", {"options": {"num_predict": "7"}}, 7),
        (GENERATE, "/api/generate", {"options": {"num_predict": "x"}}, None),
        (OPENAI_GENERATE, "/v1/completions", {"max_tokens": " 5 ", "n": "3"}, 15),
        (OPENAI_GENERATE, "/v1/completions", {"max_tokens": "9" * 5000}, 10**15),
        (OPENAI_GENERATE, "/v1/completions", {"max_tokens": 10**400}, 10**15),
        (OPENAI_GENERATE, "/v1/completions", {"max_tokens": 5, "n": -(10**400)}, 5),
        (GENERATE, "/api/generate", {}, None),
        (EMBED, "/api/embed", {"input": "x"}, 0),
        (OPENAI_GENERATE, "/v1/chat/completions", {"max_tokens": 5, "max_completion_tokens": 9}, 9),
        (OPENAI_GENERATE, "/v1/completions", {"max_tokens": 5, "n": 3, "best_of": 4}, 20),
        (OPENAI_GENERATE, "/v1/completions", {"max_tokens": 5, "n": 0}, 5),
        (OPENAI_GENERATE, "/v1/completions", {"max_tokens": 5, "n": 2, "prompt": ["a", "b", "c"]}, 30),
        (OPENAI_GENERATE, "/v1/completions", {"max_tokens": 5, "prompt": [[1, 2], [3]]}, 10),
        (OPENAI_GENERATE, "/v1/completions", {"max_tokens": 5, "prompt": [1, 2, 3]}, 5),
        (OPENAI_GENERATE, "/v1/completions", {"max_tokens": 5, "prompt": []}, 5),
        (OPENAI_GENERATE, "/v1/completions", {"max_tokens": 5, "n_predict": 900}, 900),
        (OPENAI_GENERATE, "/v1/completions", {"max_tokens": 5, "n": float("nan")}, 5),
        (GENERATE, "/api/generate", {"options": {"num_predict": float("nan")}}, None),
        (GENERATE, "/api/generate", {"options": {"num_predict": float("-inf")}}, None),
        (RESPONSES, "/v1/responses", {"max_output_tokens": 11}, 11),
        (MESSAGES, "/v1/messages", {"max_tokens": 1e300}, 10**15),
    ],
)
def test_the_largest_maximum_that_any_backend_may_read_counts(
    task: Task, path: str, body: dict[str, Any], most: int | None
) -> None:
    """In any spelling that Go takes, times the answers that are wanted; no end is no maximum."""
    asked = read_asked(task, "POST", path, (), json.dumps({"model": "x", **body}).encode())
    assert output_of(asked).most == most


@pytest.mark.parametrize(
    "body", [b'{"x":"\\ud800","max_tokens":7}', b'{"x":"\xff","max_tokens":7}', b'{"max_tokens":7} and more']
)
def test_what_only_go_reads_is_read(body: bytes) -> None:
    """Ollama takes half a surrogate pair, bytes that are not UTF-8, and anything behind the object."""
    assert output_of(read_asked(GENERATE, "POST", "/api/generate", (), body)) == (7, 1)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff"])
def test_what_is_no_object_names_no_maximum(body: bytes) -> None:
    """It is the backend's to refuse."""
    assert output_of(read_asked(GENERATE, "POST", "/api/generate", (), body)) == (None, 1)
