"""Two workers of one real service, and its commands, write one audit log."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.server_process import ServerProcess, serving_process
from tests.fakes.ollama import FakeOllama

NUMBER = 40


async def make_key(service: ServerProcess, number: int) -> str:
    """A key, over a connection of its own; its id."""
    async with service.client() as client:
        answer = await client.post("/api/admin/keys", json={"name": f"key {number}"})
        assert answer.status_code == 201
        return str(answer.json()["id"])


@pytest.mark.long
async def test_all_that_is_done_is_there_though_the_file_is_moved(fake: FakeOllama, tmp_path: Path) -> None:
    """As logrotate moves it: each action has its two lines, whole, in one of the files, whichever worker did it."""
    folder = tmp_path / "logs"
    folder.mkdir()
    file = folder / "audit.log"
    async with serving_process(tmp_path, fake.url, WORKERS="2", AUDIT_LOG=str(file)) as service:
        making = asyncio.gather(*(make_key(service, number) for number in range(NUMBER)))
        moved = 0
        while not making.done():
            if file.exists():
                file.rename(folder / f"audit.log.{moved}")
                moved += 1
            await asyncio.sleep(0.01)
        made = await making
        service.signal(signal.SIGTERM)
        assert await service.ended() == 0
        assert '"event":"audit"' not in service.output
    written = [each.read_text() for each in sorted(folder.iterdir())]
    lines = [json.loads(line) for text in written for line in text.splitlines()]
    assert moved > 1
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o600}
    assert Counter(line["stage"] for line in lines) == {"begun": NUMBER, "ended": NUMBER}
    assert sorted(line["target"] for line in lines if line["stage"] == "ended") == sorted(made)
    assert len({line["request_id"] for line in lines}) == NUMBER
