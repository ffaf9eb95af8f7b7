"""How many values a large body may have: counted where they are values, and not where they are letters."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from mlops_backend import json_values
from mlops_backend.errors import InvalidJSON
from mlops_backend.json_values import check_values

LONG = "x" * 300_000
MARKS = '1, {"a": [2, 3]}, "\\" and \\\\'


def refused(body: bytes, most: int) -> bool:
    """Whether it has too many."""
    try:
        check_values(body, most)
    except InvalidJSON:
        return True
    return False


@pytest.mark.parametrize("value", ["[" + "1," * 3000 + "1]", '{"a":1}' * 1, "[" * 3000])
def test_values_count(value: str) -> None:
    """Numbers, members and lists."""
    body = f'{{"x":"{LONG}","a":{value}}}'.encode()
    weight = value.count(",") + value.count("[") + 3 * value.count("{") + 4 * value.count(":")
    whole = weight + 1 + 3 + 2 * 4
    assert refused(body, whole - 1)
    assert not refused(body, whole)


def test_the_refusal_names_the_setting() -> None:
    """Who needs more can have it."""
    with pytest.raises(InvalidJSON, match=r"it may have 10 \(MAX_JSON_VALUES\)"):
        check_values(b'{"x":[' + b"1," * 300_000 + b"1]}", 10)


@pytest.mark.parametrize("step", [2, 7, 64, 1024 * 1024])
def test_marks_in_texts_do_not_count(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the body is cut: amid an escape, and between a backslash and its quotation mark."""
    monkeypatch.setattr(json_values, "LARGE", 100)
    monkeypatch.setattr(json_values, "_STEP", step)
    chance = random.Random(step)
    for _ in range(20):
        texts = ["".join(chance.choice(MARKS) for _ in range(chance.randrange(60))) for _ in range(20)]
        value: dict[str, Any] = {"a": texts, "b": {text: 1 for text in texts}}
        body = json.dumps(value, separators=(",", ":")).encode()
        bare = json.dumps({"a": ["" for _ in texts]}, separators=(",", ":")).encode()
        members = len(value["b"])
        weight = bare.count(b",") + 1 + 3 + 4 + (1 + 4 + 3) + 5 * members - 1
        assert not refused(body, weight)
        assert refused(body, weight - 1)


def test_small_bodies_and_what_is_no_json_are_not_counted() -> None:
    """A small one takes no time, whatever it holds; sound and forms hold any bytes."""
    assert not refused(b"[" + b"1," * 1000 + b"1]", 10)
    assert not refused(b"--form " + b"{1,[" * 100_000, 10)
    assert refused(b" \n[" + b"1," * 300_000 + b"1]", 10)
