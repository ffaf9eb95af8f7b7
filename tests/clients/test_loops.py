"""Agents go through a loop of tools before a server that holds OpenAI's rules: part of `make test-clients`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from mlops_backend.config import Settings
from tests.clients.environments import installed
from tests.clients.loop_catalogue import LOOPS, Looping
from tests.clients.loop_results import LoopRow
from tests.clients.loop_running import LoopStage, cells_of_loop, loop_stage

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def _stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LoopStage]:
    """The service, and the server behind it."""
    with pytest.MonkeyPatch.context() as outside:
        for name in Settings.model_fields:
            outside.delenv(name.upper(), raising=False)
        async with loop_stage(tmp_path_factory.mktemp("loops")) as stage:
            yield stage


@pytest.mark.parametrize("client", LOOPS, ids=lambda client: client.driver.rpartition(".")[0])
async def test_loop(client: Looping, stage: LoopStage, loop_rows: list[LoopRow], tmp_path: Path) -> None:
    """Every call is carried out as it was sent, every result stands behind its call, and the words come."""
    row = LoopRow(client.name, client.version, f"{datetime.now(UTC):%Y-%m-%d}")
    loop_rows.append(row)
    folder = await asyncio.to_thread(installed, client.packages)
    if isinstance(folder, str):
        row.missing = folder
        pytest.skip(folder)
    row.cells = await cells_of_loop(client, stage, folder, tmp_path)
    assert row.failing() == []
