"""Fixtures: a fake Ollama, and the service before it on a real socket."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from mlops_backend.config import Settings
from tests.databases import database_url, postgres, runner, sqlite_template
from tests.fakes.ollama import FakeOllama
from tests.loops import LOOP, new_event_loop
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service, serving, settings_for

__all__ = ["database_url", "postgres", "runner"]

KEYS = (ADMIN_KEY.encode(), ORDINARY_KEY.encode())
ServeFactory = Callable[..., AbstractAsyncContextManager[Service]]

# The same examples in each run, however long one takes on a machine that has others to do.
hypothesis.settings.register_profile("ours", max_examples=50, deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("ours")
# What is imported and collected stays: until all of it is there, the collector would look at it again and again.
gc.disable()


def pytest_report_header() -> str:
    """Say which event loop the tests run on."""
    return f"event loop: {LOOP}"


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What makes the loop of each test."""
    return {LOOP: new_event_loop}


def pytest_collection_finish() -> None:
    """Take what was imported out of the garbage collector's sight: it stays, and a look at it all halts the service."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture
def uninterrupted() -> Iterator[None]:
    """For tests that time what the service does: what earlier ones left takes the collector longer than they allow."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """No test's output, and so no log of a service that it runs, may show a key."""
    report = yield
    if report.passed and any(key.decode() in text for _, text in report.sections for key in KEYS):
        report.outcome = "failed"
        report.longrepr = "A key stands in what was logged or printed."
    return report


@pytest.fixture(scope="session")
def _database_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("databases")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, _database_files: Path) -> Iterator[None]:
    """No test reads the developer's environment or `.env`; each has a database of its own."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    file = _database_files / "test.db"
    file.write_bytes(sqlite_template())
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{file}")
    yield
    shown = [left.name for left in _database_files.iterdir() if any(key in left.read_bytes() for key in KEYS)]
    for left in _database_files.iterdir():
        left.unlink()
    assert not shown, "a key stands in the database"


@pytest.fixture
async def fake() -> AsyncIterator[FakeOllama]:
    """A healthy Ollama with one model."""
    async with FakeOllama() as server:
        yield server


@pytest.fixture
async def service(fake: FakeOllama) -> AsyncIterator[Service]:
    """The service before `fake`, with the keys of `tests.service`."""
    async with serving(settings_for(fake.url)) as running:
        yield running


@pytest.fixture
def serve() -> ServeFactory:
    """Serve with settings of the test's own: `async with serve(fake.url, idle_timeout=0.2) as service`."""

    def start(*backends: str, **settings: Any) -> AbstractAsyncContextManager[Service]:
        return serving(settings_for(*backends, **settings))

    return start
