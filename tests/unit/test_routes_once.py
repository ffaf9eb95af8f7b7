"""Routes that are compiled once build the addresses that they would build alone."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.routing import Map, Rule

RULES: tuple[tuple[str, dict[str, Any] | None], ...] = (
    ("/a/<name>", None),
    ("/a/<int:name>", None),
    ("/a/<path:name>", None),
    ("/b/<name>", None),
    ("/pages", {"page": 1}),
    ("/pages", {"page": 2}),
)


def bound(rule: str, defaults: dict[str, Any] | None) -> Rule:
    """A rule in a map of its own."""
    made = Rule(rule, endpoint="it", defaults=defaults)
    Map([made])
    return made


@pytest.mark.parametrize(("rule", "defaults"), RULES)
def test_equal_rules_share_what_is_compiled(rule: str, defaults: dict[str, Any] | None) -> None:
    """The same function, and each for its own rule."""
    first, second = bound(rule, defaults), bound(rule, defaults)
    assert first._build.__func__ is second._build.__func__  # type: ignore[attr-defined]
    assert first._build.__self__ is not second._build.__self__  # type: ignore[attr-defined]
    assert first.build({"name": 7}) == second.build({"name": 7})


def test_other_rules_share_nothing() -> None:
    """Whatever differs: the path, the converter, the defaults."""
    functions = [bound(*each)._build.__func__ for each in RULES]  # type: ignore[attr-defined]
    assert len({id(function) for function in functions}) == len(RULES)
