"""Each module's server, with the service before it; and the table, printed when all is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
import pytest_asyncio

from mlops_backend.config import Settings
from tests.servers.real.asking import Pair
from tests.servers.real.every import SERVERS
from tests.servers.real.kinds import Server
from tests.servers.real.starting import Missing, interpreter, started
from tests.servers.real.table import Table
from tests.service import serving, settings_for

TABLE = Table()


@pytest.fixture(scope="session")
def table() -> Table:
    """Where results are kept."""
    return TABLE


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The module's `SERVER`, with a small model; one that cannot be had is skipped, with the reason."""
    kind: Server = request.module.SERVER
    python = interpreter(kind)
    if isinstance(python, Missing):
        TABLE.missing[kind.name] = python.why
        pytest.skip(python.why)
    with started(kind, python, tmp_path_factory.mktemp("server")) as running:
        yield Pair(kind, running.model, running.url, "")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(server: Pair) -> AsyncIterator[Pair]:
    """The same, with the service before it."""
    with pytest.MonkeyPatch.context() as outside:
        for name in Settings.model_fields:
            outside.delenv(name.upper(), raising=False)
        settings = settings_for(openai_backends=server.server.setting(server.url))
    async with serving(settings) as service:
        yield replace(server, service=service.url)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was asked and what came of it."""
    if TABLE.results or TABLE.missing:
        terminalreporter.section("real servers")
        for line in TABLE.rendered([server.name for server in SERVERS]):
            terminalreporter.write_line(line)
