"""What the application's class does otherwise than Quart's: sooner, and with the same outcome."""

from __future__ import annotations

from typing import Any

import pytest
from quart.routing import QuartRule
from werkzeug.routing import Map

from mlops_backend.middleware.application import Rule

RULES: tuple[tuple[str, dict[str, Any] | None, dict[str, Any]], ...] = (
    ("/a/<name>", None, {"name": "b c"}),
    ("/a/<int:name>", None, {"name": 7}),
    ("/a/<path:name>", None, {"name": "b/c"}),
    ("/a/<rule>", None, {"rule": "d", "self": "e"}),
    ("/pages", {"page": 1}, {"page": 1}),
    ("/pages", {"page": 2}, {"q": ["x", "y"]}),
)


@pytest.mark.parametrize("append_unknown", [True, False])
@pytest.mark.parametrize(("path", "defaults", "values"), RULES)
def test_a_route_makes_the_addresses_that_quart_makes(
    path: str, defaults: dict[str, Any] | None, values: dict[str, Any], append_unknown: bool
) -> None:
    """Though what makes them is compiled when it is first asked; and again when it is asked again."""
    ours, quarts = (kind(path, endpoint="it", defaults=defaults) for kind in (Rule, QuartRule))
    Map([ours])
    Map([quarts])
    expected = quarts.build(values, append_unknown)
    assert [ours.build(values, append_unknown) for _ in range(2)] == [expected, expected]
    assert expected
