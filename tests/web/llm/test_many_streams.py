"""Many streams at a time, whose readers come and go: nothing is lost, nothing comes twice, and memory has a bound."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from mlops_backend.services.other.journals import Journals, MemoryJournals
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama, Mode
from tests.service import Service
from tests.web.llm.streaming import PROMPT, Told, begin, read

WORDS = tuple(f" word{number}" for number in range(40))
NUMBERS = list(range(1, len(WORDS) + 2))


async def restless(service: Service, chance: Random) -> Told:
    """One stream, read by somebody who leaves three times and comes back where they were."""
    url = (await begin(service, {**PROMPT, "prompt": "x" * chance.randrange(1, 100)}))["url"]
    whole = Told()
    for leaves in (True, True, True, False):
        most = chance.randrange(1, len(WORDS) // 3) if leaves else None
        part = await read(service, url, after=len(whole.numbers) or None, most=most)
        whole.numbers += part.numbers
        whole.objects += part.objects
        whole.failures += part.failures
        if leaves:
            await asyncio.sleep(chance.random() * 0.2)
    return whole


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.long)])
async def test_readers_that_come_and_go_miss_nothing(serve: ServeFactory, fake: FakeOllama, count: int) -> None:
    """Each leaves three times, whenever it likes."""
    fake.words, fake.mode, fake.token_delay = WORDS, Mode.SLOW_TOKENS, 0.005
    room = asyncio.Semaphore(200)

    async def one(number: int) -> Told:
        async with room:
            return await restless(service, Random(number))

    async with serve(fake.url, max_connections_per_address=4000) as service:
        for told in await asyncio.gather(*map(one, range(count))):
            assert (told.numbers, told.failures) == (NUMBERS, [])
            assert told.text == "".join(WORDS)


async def test_memory_at_its_bound_stays_there(serve: ServeFactory, fake: FakeOllama) -> None:
    """More is made than a key may keep: its oldest go, readers of the newest get all of it, and no more is held."""
    fake.words = ("x" * 10_000,) * 12
    async with serve(fake.url, stream_memory=1_048_576, stream_bytes=262_144) as service:
        journals = service.services.get(Journals)  # type: ignore[type-abstract]
        assert isinstance(journals, MemoryJournals)
        statuses, most = [], 0
        for _ in range(30):
            begun = await begin(service)
            told = await read(service, begun["url"])
            assert len(told.numbers) == 13
            most = max(most, journals.bytes)
            statuses.append(begun["url"])
        assert 196_608 < most <= 262_144  # a quarter is what one key has
        answers = [(await service.stranger.get(url)).status_code for url in statuses]
        assert answers == sorted(answers, reverse=True)
        assert set(answers) == {404, 200}
