"""Each client's first chat, stream, tool call, image, embedding and errors on four backends: `make test-clients`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from mlops_backend.config import Settings
from tests.clients.catalogue import CLIENTS, Client
from tests.clients.environments import installed
from tests.clients.results import Row
from tests.clients.running import cells_of
from tests.clients.stages import Behind, Stage, stages
from tests.e2e.real_ollama import NO_ENGINE, engine_is_installed

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="four")
async def _four(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[Behind, Stage]]:
    """The four services."""
    if not engine_is_installed():
        pytest.skip(NO_ENGINE)
    with pytest.MonkeyPatch.context() as outside:
        for name in Settings.model_fields:
            outside.delenv(name.upper(), raising=False)
        async with stages(tmp_path_factory.mktemp("stages")) as four:
            yield four


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.driver.rpartition(".")[0])
async def test_client(client: Client, four: dict[Behind, Stage], rows: list[Row], tmp_path: Path) -> None:
    """What the client got is what the backend sent, and what the service refused came out as an error."""
    row = Row(client.name, client.version, f"{datetime.now(UTC):%Y-%m-%d}")
    rows.append(row)
    folder = await asyncio.to_thread(installed, client.packages)
    if isinstance(folder, str):
        row.missing = folder
        pytest.skip(folder)
    for behind, stage in four.items():
        home = tmp_path / behind.name
        home.mkdir()
        row.cells[behind] = await cells_of(client, stage, folder, home)
    assert row.failing() == []
