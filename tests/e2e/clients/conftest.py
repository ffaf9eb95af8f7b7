"""The embedded engine, and asynchronous clients before a model that generates, are met in the long run alone."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The programs of the documentation's pages meet the engine in each run; asynchronous clients meet a fake here."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if item.path.parent == HERE and "live" in fixtures and ("engine" in item.name or "async" in item.name):
            item.add_marker(pytest.mark.long)
