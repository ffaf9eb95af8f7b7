"""Fixtures: a fake Ollama, and the service before it on a real socket."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from mlops_backend.config import Settings
from tests.databases import database_url, postgres, sqlite_template
from tests.fakes.ollama import FakeOllama
from tests.service import Service, serving, settings_for

__all__ = ["database_url", "postgres"]

ServeFactory = Callable[..., AbstractAsyncContextManager[Service]]


def pytest_collection_finish() -> None:
    """Take what was imported out of the garbage collector's sight: it stays, and a look at it all halts the service."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def uninterrupted() -> Iterator[None]:
    """For tests that time what the service does: what earlier ones left takes the collector longer than they allow."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


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
    for left in _database_files.iterdir():
        left.unlink()


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
