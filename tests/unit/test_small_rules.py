"""Rules of a line each that stand by themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from werkzeug.datastructures import Headers

from mlops_backend.cli import _sentence
from mlops_backend.errors import BadRequest, InvalidBody
from mlops_backend.middleware.exchange import Arrived
from mlops_backend.middleware.json_body import _blueprints_of
from mlops_backend.principal import Rate
from mlops_backend.services.llm.asked import OPENAI_GENERATE, TRANSCRIBE, Asked, _choices, read_asked
from mlops_backend.services.llm.backends.refusals import without
from mlops_backend.services.llm.dialects import members, values_in
from mlops_backend.services.llm.dialects.openai.images import image_parts
from mlops_backend.services.llm.dialects.openai.stops import watched
from mlops_backend.services.llm.generation.token_estimate import prompt_tokens
from mlops_backend.services.other.limits.charge import room_of
from mlops_backend.services.other.limits.decision import Seen, _left_of_rate
from mlops_backend.services.other.usage.generation_row import fitting


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
    assert _choices(values_in(members(json.dumps(body)) or ())) == count


@pytest.mark.parametrize("name", ["X-Key", "x-key", "X-KEY", "Cookie", "", "Length"])
def test_headers_that_arrived_are_found_as_werkzeug_finds_them(name: str) -> None:
    """In any case, the first of several; one that is not there is not, and no number is made of what is none."""
    pairs = [("X-Key", "a"), ("Length", "12"), ("x-key", "b")]
    arrived, theirs = Arrived(pairs), Headers(pairs)
    assert (name in arrived) is (name in theirs)
    assert (arrived.get(name), arrived.get(name, "else")) == (theirs.get(name), theirs.get(name, "else"))
    assert arrived.get(name, type=int) == theirs.get(name, type=int)
    assert 5 not in arrived


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


@pytest.mark.parametrize(
    ("endpoint", "names"),
    [("health", ()), ("llm.chat", ("llm",)), ("outer.inner.view", ("outer.inner", "outer"))],
)
def test_a_route_stands_in_its_blueprints(endpoint: str, names: tuple[str, ...]) -> None:
    """The inmost first, as Quart has them: what is registered for a blueprint happens on its routes."""
    assert _blueprints_of(endpoint) == names


@pytest.mark.parametrize(
    ("text", "length", "kept"),
    [
        ("abcd", 4, "abcd"),
        ("äö", 4, "äö"),
        ("äöü", 5, "äö"),
        ("a\0b", 9, "a�b"),
        ("a\ud83d", 9, "a?"),
    ],
)
def test_a_column_has_room_for_so_many_bytes(text: str, length: int, kept: str) -> None:
    """Whole letters, none that PostgreSQL refuses."""
    assert fitting(text, length) == kept


def test_what_is_too_long_for_a_column_is_cut() -> None:
    """Plain letters too, which are as many bytes."""
    assert fitting("abcde", 4) == "abcd"


@pytest.mark.parametrize(("taken", "held"), [(0, 0), (-5, 0), (7, 0), (7, 3)])
def test_what_is_left_of_a_rate_is_what_nobody_has(taken: int, held: int) -> None:
    """To the microsecond: all of it, where its last use is past."""
    rate = Rate.parse("60/minute burst 10")
    seen = Seen(now=100, requests=0, tokens=100 + taken, held=held, day=0, month=0, open=0)
    assert _left_of_rate(rate, seen) == room_of(rate) - max(taken, 0) - held


def test_a_command_names_the_first_field_that_is_wrong() -> None:
    """Where it stands, and what is the matter with it."""
    details = [{"loc": ["limits", "requests"], "msg": "no rate"}, {"loc": ["name"], "msg": "too long"}]
    assert _sentence(InvalidBody("The body is not valid.", details)) == "limits.requests: no rate"


@pytest.mark.parametrize(
    ("stops", "is_taken"),
    [(["a"] * 100, True), (["a"] * 101, False), (["a" * 1000], True), (["a" * 1001], False), ("a" * 1001, False)],
    ids=["as many", "one more", "as long", "longer", "a longer one"],
)
def test_so_many_stops_are_watched_for(stops: object, *, is_taken: bool) -> None:
    """A hundred, of a thousand letters each: to look for more takes long in each token."""
    if is_taken:
        assert len(watched({"stop": stops})) == len(stops)  # type: ignore[arg-type]
    else:
        with pytest.raises(BadRequest, match="at most"):
            watched({"stop": stops})


def test_what_has_no_prompt_has_no_tokens() -> None:
    """A request without a body, and one that is a file on its way."""
    assert prompt_tokens(Asked(TRANSCRIBE, "POST", "/v1/audio/transcriptions")) == 0
