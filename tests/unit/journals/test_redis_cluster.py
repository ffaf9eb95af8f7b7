"""Journals in a cluster of Redis."""

from __future__ import annotations

import asyncio

import pytest

from mlops_backend.services.other.journals import Bounds, Writer, follow
from mlops_backend.services.other.journals.redis_journals import RedisJournals
from tests.fakes.redis_pair import RedisClusterOfThree
from tests.unit.journals.keepers import opened


@pytest.mark.long
async def test_two_processes_with_addresses_of_two_nodes() -> None:
    """All names are on one node; readers of the other process are told of each piece."""
    with RedisClusterOfThree() as cluster:
        writes, reads = (RedisJournals(node.url, Bounds()) for node in cluster.nodes[:2])
        await writes.open()
        await reads.open()
        for number in range(10):
            await writes.begin(opened(number, claim=f"name-{number}"))
        readers = [asyncio.create_task(whole(reads, number)) for number in range(10)]
        writers = [Writer(writes, f"journal-{number}", 60, lambda: None) for number in range(10)]
        for piece in range(50):
            await asyncio.gather(*(writer.add([b"%d " % piece]) for writer in writers))
            await asyncio.sleep(0.005)
        await asyncio.gather(*(writer.close("done") for writer in writers))
        assert set(await asyncio.gather(*readers)) == {b"".join(b"%d " % piece for piece in range(50))}
        assert sum(bool(node.ask("KEYS", "mlops:{journals}:*")) for node in cluster.nodes) == 1
        for journals in (writes, reads):
            assert journals.redis_up
            await journals.aclose()


async def whole(journals: RedisJournals, number: int) -> bytes:
    """All that one consists of."""
    return b"".join([b"".join(page.pieces) async for page in follow(journals, f"journal-{number}")])
