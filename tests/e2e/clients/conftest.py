"""The embedded engine, and asynchronous clients before what is carried, are met in the long run alone."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
CARRIED = HERE / "test_openai_carried.py"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The programs of the documentation's pages meet the engine in each run; all clients meet a real Ollama here."""
    for item in items:
        is_engines = item.path.parent == HERE and "engine" in item.name
        if is_engines or (item.path == CARRIED and "async" in item.name):
            item.add_marker(pytest.mark.long)
