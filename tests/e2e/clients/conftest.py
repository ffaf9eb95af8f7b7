"""Each library's asynchronous client meets the embedded engine, and what is carried, in the long run alone."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They go the same way as the synchronous ones, which each run has; so do they before a real Ollama."""
    for item in items:
        meets_ollama_itself = "engine" not in item.name and item.path.name != "test_openai_carried.py"
        if item.path.parent == HERE and "async" in item.name and not meets_ollama_itself:
            item.add_marker(pytest.mark.long)
