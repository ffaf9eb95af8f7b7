"""Fixtures: a fake Ollama, and the service before it on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from mlops_backend.config import Settings
from tests.fakes.ollama import FakeOllama
from tests.service import Service, serving, settings_for

ServeFactory = Callable[..., AbstractAsyncContextManager[Service]]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads the developer's environment or `.env`."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


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
