"""Where journals are kept is decided by the settings."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import aclosing

from mlops_backend.services.other.journals import (
    MemoryJournals,
    WorkersJournals,
    build_journals,
    build_journals_of_parent,
    follow,
)
from mlops_backend.services.other.journals.parent import MOST_OF_ONE
from mlops_backend.services.other.journals.redis_journals import RedisJournals
from tests.fakes.family import Family
from tests.fakes.redis_server import RedisServer
from tests.settings import settings_for
from tests.unit.journals.keepers import opened


async def test_one_process_keeps_them_itself() -> None:
    """Within its bounds."""
    journals = build_journals(settings_for(stream_bytes=65_536))
    assert isinstance(journals, MemoryJournals)
    await journals.begin(opened())
    await journals.write("journal-1", [b"x" * 20_000] * 5)
    assert (await journals.read("journal-1")).oldest == 3


async def test_workers_have_their_parent_keep_them() -> None:
    """What one of them writes the other one reads; when it dies the other one is told."""
    family = Family(settings_for())
    await family.open()
    first, second = (build_journals(settings_for(), shared) for shared in family.workers)
    assert isinstance(first, WorkersJournals)
    await first.begin(opened())
    await first.write("journal-1", [b"one"])
    async with aclosing(follow(second, "journal-1")) as pages:
        assert list((await anext(pages)).pieces) == [b"one"]
    family.channels[0].leave("it was killed")
    async with asyncio.timeout(30):
        while (await second.read("journal-1", 1)).silent < 60:
            await asyncio.sleep(0.01)
    await family.aclose()


async def test_a_parent_keeps_no_more_of_one_than_a_message_can_have() -> None:
    """Whatever the settings say: a longer one loses its beginning."""
    journals = build_journals_of_parent(settings_for(stream_bytes=4 * MOST_OF_ONE))
    await journals.begin(opened())
    await journals.write("journal-1", [b"x" * (MOST_OF_ONE // 2)] * 3)
    assert (await journals.read("journal-1")).oldest == 3


async def test_with_redis_all_have_them_there() -> None:
    """Workers too, whose parent keeps none then."""
    with RedisServer() as redis:
        settings = settings_for(redis_url=redis.url)
        family = Family(settings)
        await family.open()
        several = [build_journals(settings, shared) for shared in (None, *family.workers)]
        for journals in several:
            assert isinstance(journals, RedisJournals)
            await journals.open()
        await several[0].begin(opened())
        assert [await journals.opening("journal-1") for journals in several] == [opened()] * 3
        assert "journals.begin" not in family.hub.handlers._by_name
        for journals in several:
            await journals.aclose()
        await family.aclose()


def test_a_parent_loads_nothing_for_them() -> None:
    """Neither Redis's client nor what asks a backend."""
    said = (
        "import sys, mlops_backend.workers.common; print(*(name for name in ('redis', 'httpx') if name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", said], capture_output=True, check=True).stdout == b"\n"
