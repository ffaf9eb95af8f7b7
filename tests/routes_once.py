"""Routes are compiled once in a process: they are the same for every service of a test, and half of its start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from werkzeug.routing.rules import Rule


def compile_routes_once() -> None:
    """From now on a rule that equals an earlier one takes over the functions that were compiled for it."""
    made: dict[tuple[Any, ...], Callable[..., tuple[str, str]]] = {}
    compiled = Rule._compile_builder

    def once(rule: Rule, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        known = (append_unknown, rule.rule, *rule._trace, *sorted((rule.defaults or {}).items()))
        if known not in made:
            made[known] = compiled(rule, append_unknown)
        return made[known]

    Rule._compile_builder = once  # type: ignore[method-assign, assignment]
