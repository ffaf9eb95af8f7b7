"""Two processes, one Redis, one budget: it is used to its last token, and not beyond."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server_process import serving_process
from tests.fakes.ollama import FakeOllama
from tests.fakes.redis_server import RedisServer
from tests.service import ORDINARY_KEY
from tests.web.dialects.drop_in_families import FAMILIES
from tests.web.keys.spending import BUDGET, WORDS, spend, spent


@pytest.mark.parametrize("family", ["chat", pytest.param("openai chat", marks=pytest.mark.long)])
async def test_fifty_clients_of_two_processes_use_a_budget_up(fake: FakeOllama, tmp_path: Path, family: str) -> None:
    """Half of them ask one process, half the other, with no maximum, until they are refused for good."""
    fake.words = WORDS
    asked = FAMILIES[family]
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    with RedisServer() as redis:
        settings = {"REDIS_URL": redis.url, "API_KEYS": f"tester:{ORDINARY_KEY}", "TOKENS_PER_DAY": str(BUDGET)}
        async with (
            serving_process(folders[0], fake.url, **settings) as one,
            serving_process(folders[1], fake.url, **settings) as two,
            one.client(**{"X-API-Key": ORDINARY_KEY}) as first,
            two.client(**{"X-API-Key": ORDINARY_KEY}) as second,
        ):

            async def post(number: int) -> Any:
                client = (first, second)[number % 2]
                return await client.post(asked.path, json=asked.whole if number % 4 < 2 else asked.unasked)

            last = await spend(post)
    assert all("is reached: 10000/day" in answer.text for answer in last)
    assert 9_900 <= spent(fake) <= BUDGET
