"""Fixtures of the tests with real clients: the service before what generates, and before a fake, one for a module."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import fields

import pytest
import pytest_asyncio

from mlops_backend.config import Settings
from tests.e2e import server_process
from tests.e2e.clients.clients import CLIENTS_VARIABLES, Faked, Live
from tests.e2e.real_ollama import MODEL, NO_ENGINE, engine_is_installed, real_ollama
from tests.fakes.ollama import FakeOllama
from tests.fakes.ollama_modes import Script
from tests.service import serving, settings_for


@pytest.fixture(params=["1", pytest.param("2", marks=pytest.mark.long)], ids=["one_process", "two_workers"])
def _any_number_of_workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a module's tests say holds for one process and for several workers."""
    monkeypatch.setattr(server_process, "WORKERS", request.param)


@pytest.fixture(scope="session")
def ollama_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Ollama with the embedded engine's model."""
    if not engine_is_installed():
        pytest.skip(NO_ENGINE)
    with real_ollama(tmp_path_factory.mktemp("ollama")) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["engine", "ollama"])
async def live(request: pytest.FixtureRequest) -> AsyncIterator[Live]:
    """The service before a model that generates: in the embedded engine, and in a real Ollama."""
    if not engine_is_installed():
        pytest.skip(NO_ENGINE)
    over_engine = request.param == "engine"
    backends = () if over_engine else (request.getfixturevalue("ollama_url"),)
    with pytest.MonkeyPatch.context() as outside:
        for name in Settings.model_fields:
            outside.delenv(name.upper(), raising=False)
        settings = settings_for(*backends, embedded_engine="on" if over_engine else "off", key_in_url=True)
    async with serving(settings) as service:
        yield Live(service, MODEL, over_engine)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def faked_for_module() -> AsyncIterator[Faked]:
    """The service before a fake Ollama."""
    async with FakeOllama() as fake, serving(settings_for(fake.url, idle_timeout=0.5)) as service:
        yield Faked(fake, service)


@pytest.fixture
def faked(faked_for_module: Faked) -> Faked:
    """The same, as if it were new."""
    new = FakeOllama()
    for field in fields(Script):
        setattr(faked_for_module.fake, field.name, getattr(new, field.name))
    faked_for_module.fake.requests.clear()
    return faked_for_module


@pytest.fixture(scope="module")
def no_clients_settings() -> Iterator[None]:
    """No client reads the developer's keys and addresses, or goes through a proxy."""
    with pytest.MonkeyPatch.context() as outside:
        for name in CLIENTS_VARIABLES:
            outside.delenv(name, raising=False)
        outside.setenv("NO_PROXY", "*")
        yield
