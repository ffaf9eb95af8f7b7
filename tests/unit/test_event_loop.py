"""Which event loop runs the service."""

from __future__ import annotations

import asyncio
import importlib.util

import pytest

from mlops_backend.config import ConfigError, load_settings
from mlops_backend.event_loop import Choice, chosen, factory_of
from tests.loops import LOOP


@pytest.fixture
def _nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    monkeypatch.setattr("mlops_backend.event_loop.find_spec", lambda name: None)


def test_uvloop_is_taken_where_it_is() -> None:
    """Unless asyncio's own is asked for."""
    assert importlib.util.find_spec("uvloop")
    assert (chosen("auto"), chosen("asyncio"), chosen("uvloop")) == ("uvloop", "asyncio", "uvloop")


@pytest.mark.usefixtures("_nothing_installed")
def test_asyncio_is_taken_elsewhere() -> None:
    """Without a word."""
    assert chosen("auto") == chosen("asyncio") == "asyncio"


@pytest.mark.usefixtures("_nothing_installed")
def test_a_loop_that_is_not_installed_is_refused() -> None:
    """In a line that names the variable."""
    with pytest.raises(ConfigError, match=r"^EVENT_LOOP: uvloop is not installed; [^\n]*$"):
        load_settings(None, event_loop="uvloop")


@pytest.mark.parametrize(("choice", "module"), [("asyncio", "asyncio.unix_events"), ("uvloop", "uvloop")])
def test_a_loop_is_made(choice: Choice, module: str) -> None:
    """By the library that was chosen."""
    loop = factory_of(choice)()
    loop.close()
    assert type(loop).__module__ == module


async def test_tests_run_on_the_loop_that_was_asked_for() -> None:
    """Or a suite on the other loop would show nothing."""
    assert type(asyncio.get_running_loop()).__module__ == {"uvloop": "uvloop", "asyncio": "asyncio.unix_events"}[LOOP]
