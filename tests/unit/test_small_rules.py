"""Rules of a line each that stand by themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlops_backend.principal import Rate
from mlops_backend.services.llm.asked import OPENAI_GENERATE, _choices, read_asked
from mlops_backend.services.llm.backends.refusals import without
from mlops_backend.services.llm.dialects import members
from mlops_backend.services.llm.dialects.openai.images import image_parts


@pytest.mark.parametrize("text", ["0/minute", "0/minute burst 5", "5/minute burst 0", "5/fortnight", "", "x5/minute"])
def test_a_rate_of_nothing_is_none(text: str) -> None:
    """Neither its count nor its burst may be zero."""
    with pytest.raises(ValueError, match="60/minute burst 10"):
        Rate.parse(text)


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ({}, 1),
        ({"n": 3}, 3),
        ({"n": 0}, 1),
        ({"n": "3"}, 1),
        ({"prompt": "a"}, 1),
        ({"prompt": []}, 1),
        ({"prompt": ["a", "b"]}, 2),
        ({"prompt": ["a", "b"], "n": 2}, 4),
    ],
)
def test_answers_are_as_many_as_were_asked_for(body: dict[str, Any], count: int) -> None:
    """So many of each prompt."""
    assert _choices(members(json.dumps(body)) or ()) == count


def test_a_model_with_a_nul_is_read_in_full() -> None:
    """Its name is what it is, and not what stands for a long text."""
    body = json.dumps({"model": "a\0b", "messages": []}).encode()
    assert read_asked(OPENAI_GENERATE, "POST", "/v1/chat/completions", (), body).models == ("a\0b",)


def test_what_a_server_refuses_goes_whole() -> None:
    """Also where all fields of its kind are there."""
    assert without({"stream_options": {}, "include_usage": True, "model": "m"}, ["usage"]) == {"model": "m"}
    assert without({"include_usage": True, "model": "m"}, ["usage"]) == {"model": "m"}


def test_an_image_may_have_line_breaks() -> None:
    """As Go reads base64; a server of OpenAI's API does not."""
    ((part),) = image_parts(["iVBO\r\nRw0K\n"])
    assert part["image_url"]["url"] == "data:image/png;base64,iVBORw0K"
