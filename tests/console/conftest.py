"""Fixtures: one service, one fake Ollama and one Chromium for a file of tests, and a visit for each test.

A file sets `SETTINGS = {…}` for a service of its own kind. Each test of it has `pytestmark = CONSOLE`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from mlops_backend.config import Settings
from tests.console.browsing import PATIENCE, Console
from tests.databases import sqlite_template
from tests.e2e.pages import chromium
from tests.fakes.ollama import FakeOllama
from tests.service import Service, serving, settings_for


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="browser")
async def _browser() -> AsyncIterator[Browser]:
    """One browser for all tests of a file."""
    expect.set_options(timeout=PATIENCE)
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="fake")
async def _fake() -> AsyncIterator[FakeOllama]:
    """One Ollama for all tests of a file."""
    async with FakeOllama() as fake:
        yield fake


@pytest.fixture(scope="module", name="settings")
def _settings(fake: FakeOllama, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a file's service, with a database of its own and nothing from the environment."""
    file = tmp_path_factory.mktemp("console") / "console.db"
    file.write_bytes(sqlite_template())
    chosen = {"database_url": f"sqlite:///{file}", **getattr(request.module, "SETTINGS", {})}
    with pytest.MonkeyPatch.context() as patch:
        for name in Settings.model_fields:
            patch.delenv(name.upper(), raising=False)
        return settings_for(fake.url, **chosen)


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="service")
async def _service(settings: Settings) -> AsyncIterator[Service]:
    """One service for all tests of a file."""
    async with serving(settings) as service:
        yield service


@pytest_asyncio.fixture(loop_scope="module", name="console")
async def _console(service: Service, fake: FakeOllama, browser: Browser) -> AsyncIterator[Console]:
    """Visits of one test; at its end no page has complained, or asked another origin for anything."""
    console = Console(service, fake, browser)
    yield console
    await console.end()


@pytest_asyncio.fixture(loop_scope="module", name="page")
async def _page(console: Console) -> Page:
    """The first page, signed in with an ordinary key."""
    return await console.visit()
