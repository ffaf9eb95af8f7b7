"""Clients that go on while what the service needs changes places; what they saw of it.

`python -m tests.e2e.failovers` fails PostgreSQL, Redis and Valkey, where they are here, over five times each under
twenty clients and prints what that came to.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from sqlalchemy import select

from mlops_backend.services.other.database import Database, generations
from mlops_backend.services.other.usage import Ledger
from tests.fakes.forwarder import Forwarder
from tests.fakes.ollama import FakeOllama
from tests.fakes.postgres_pair import PostgresPair
from tests.fakes.redis_pair import RedisPair, RedisSentinel, wait_for
from tests.service import ADMIN_KEY, Service, serving, settings_for

ADMIN = {"X-API-Key": ADMIN_KEY}
BODY = {"model": "llama3", "prompt": "one two three", "stream": False, "options": {"num_predict": 20}}
_PATIENCE = 30.0


@dataclass
class Seen:
    """What clients were told; `budgets` are the tokens that each one's key may use in a day."""

    budgets: dict[str, int] = field(default_factory=dict)
    generated: Counter[int] = field(default_factory=Counter)
    written: Counter[int] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    ids: list[str] = field(default_factory=list)
    used: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    back: list[float] = field(default_factory=list)
    last_write: float = 0.0
    last_decision: float = 0.0

    def told(self) -> dict[str, Any]:
        """In numbers, for a person."""
        return {
            "generations": dict(self.generated),
            "writes": dict(self.written),
            "refusals": dict(self.refused),
            "used of the budgets": " ".join(f"{self.used[name]}/{self.budgets[name]}" for name in self.budgets),
            "seconds until it works again": [round(seconds, 2) for seconds in self.back],
            "longest answer": round(self.longest, 2),
        }


async def _ask(service: Service, seen: Seen, method: str, path: str, headers: dict[str, str], body: Any) -> Any:
    began = perf_counter()
    answer = await service.stranger.request(method, path, headers=headers, json=body)
    seen.longest = max(seen.longest, perf_counter() - began)
    if answer.status_code >= 400:
        seen.refused[answer.json()["code"]] += 1
    return answer


async def _be_a_client(service: Service, seen: Seen, over: asyncio.Event, name: str) -> None:
    limits = {"tokens_per_day": seen.budgets[name], "concurrent": 8}
    made = await service.stranger.post("/api/admin/keys", headers=ADMIN, json={"name": name, "limits": limits})
    assert made.status_code == 201, made.text
    mine = {"X-API-Key": made.json()["key"]}
    while not over.is_set():
        answer = await _ask(service, seen, "POST", "/api/llm/generate", mine, BODY)
        seen.generated[answer.status_code] += 1
        if answer.status_code == 200:
            told = answer.json()
            seen.ids.append(answer.headers["X-Request-ID"])
            seen.used[name] += told["prompt_eval_count"] + told["eval_count"]
        if answer.status_code in (200, 429):
            seen.last_decision = perf_counter()
        place = f"/api/admin/keys/{made.json()['id']}"
        answer = await _ask(service, seen, "PATCH", place, ADMIN, {"metadata": {"n": str(len(seen.ids))}})
        seen.written[answer.status_code] += 1
        if answer.status_code == 200:
            seen.last_write = perf_counter()
        await asyncio.sleep(0.05)


@asynccontextmanager
async def clients(service: Service, count: int) -> AsyncIterator[Seen]:
    """So many of them until the block ends, each with a key and a budget of its own; some budgets are soon used."""
    seen, over = Seen({f"client-{number}": 40 * (number + 1) for number in range(count)}), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for name in seen.budgets:
            group.create_task(_be_a_client(service, seen, over, name))
        await until(lambda: len(seen.ids) >= count and seen.generated[429] > 0)
        try:
            yield seen
        finally:
            over.set()


async def until(holds: Callable[[], bool], patience: float = _PATIENCE) -> float:
    """Wait until it does; the seconds that this took."""
    began = perf_counter()
    async with asyncio.timeout(patience):
        while not holds():
            await asyncio.sleep(0.01)
    return perf_counter() - began


async def check_ledger(service: Service, seen: Seen) -> None:
    """Every generation that was answered is in the ledger, once."""
    ledger, database = service.services.get(Ledger), service.services.get(Database)
    await until(lambda: ledger.waiting == 0)
    async with database.reading() as connection:
        found = list(await connection.execute(select(generations.c.request_id, generations.c.outcome)))
    assert len(found) == len({row.request_id for row in found})
    assert sorted(row.request_id for row in found if row.outcome == "done") == sorted(seen.ids)
    assert len(found) == seen.generated.total()
    assert ledger.dropped == 0


def check(seen: Seen, back_within: float) -> None:
    """No 500, no budget overdrawn, and all worked again in time."""
    check_answers(seen, back_within)
    assert all(seen.used[name] <= budget for name, budget in seen.budgets.items()), seen.told()


def check_answers(seen: Seen, back_within: float) -> None:
    """The same where a primary may take with it what it has not handed on."""
    assert set(seen.generated) <= {200, 429, 503}, seen.told()
    assert set(seen.written) <= {200, 503}, seen.told()
    assert max(seen.back) <= back_within, seen.told()


async def fail_postgres_over(
    pair: PostgresPair, count: int, times: int, between: Callable[[Service], Awaitable[None]] | None = None
) -> Seen:
    """The primary becomes a standby and stays up where the address leads; then the address moves to the new one."""
    async with FakeOllama() as fake, Forwarder(pair.primary.port) as address:
        url = f"postgresql://postgres@127.0.0.1:{address.port}/postgres"
        async with serving(settings_for(fake.url, database_url=url)) as service:
            async with clients(service, count) as seen:
                for _ in range(times):
                    await asyncio.to_thread(pair.demote)
                    await asyncio.sleep(1)
                    if between is not None:
                        await between(service)
                    await asyncio.to_thread(pair.promote)
                    address.target = pair.primary.port
                    moved = perf_counter()
                    await until(lambda since=moved: seen.last_write > since)  # type: ignore[misc]
                    seen.back.append(seen.last_write - moved)
                    await asyncio.sleep(0.5)
            await check_ledger(service, seen)
    return seen


async def fail_redis_over(
    pair: RedisPair, count: int, times: int, between: Callable[[Service], Awaitable[None]] | None = None
) -> Seen:
    """The same of Redis, whose counters decide on budgets; the ledger is in SQLite's file."""
    with tempfile.TemporaryDirectory() as folder:
        async with FakeOllama() as fake, Forwarder(pair.primary.port) as address:
            stores = {"redis_url": f"redis://127.0.0.1:{address.port}/0", "database_url": f"sqlite:///{folder}/a.db"}
            async with serving(settings_for(fake.url, **stores)) as service:
                async with clients(service, count) as seen:
                    for _ in range(times):
                        await asyncio.to_thread(pair.demote)
                        await asyncio.sleep(1)
                        if between is not None:
                            await between(service)
                        address.target = pair.primary.port
                        moved = perf_counter()
                        await until(lambda since=moved: seen.last_decision > since)  # type: ignore[misc]
                        seen.back.append(seen.last_decision - moved)
                        await asyncio.sleep(0.5)
                await check_ledger(service, seen)
    return seen


async def fail_sentinels_over(pair: RedisPair, sentinel: RedisSentinel, count: int) -> Seen:
    """The primary is switched off, and the Sentinel puts the replica in its place; the address stays what it is."""
    with tempfile.TemporaryDirectory() as folder:
        async with FakeOllama() as fake:
            stores = {"redis_url": sentinel.url, "database_url": f"sqlite:///{folder}/a.db"}
            async with serving(settings_for(fake.url, **stores)) as service:
                async with clients(service, count) as seen:
                    await asyncio.to_thread(wait_for, sentinel.is_ready, "the Sentinel knows the replica")
                    told, killed = seen.generated[503], perf_counter()
                    await asyncio.to_thread(pair.primary.kill)
                    await until(lambda: seen.generated[503] > told)
                    noticed = perf_counter()
                    await until(lambda: seen.last_decision > noticed)
                    seen.back.append(seen.last_decision - killed)
                await check_ledger(service, seen)
    return seen


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--clients", type=int, default=20)
    asked = parser.parse_args()
    with PostgresPair() as postgres:
        seen = asyncio.run(fail_postgres_over(postgres, asked.clients, asked.times))
        sys.stdout.write(f"PostgreSQL {json.dumps(seen.told(), indent=1)}\n")
        check(seen, 5.0)
    for program in filter(None, map(shutil.which, ("redis-server", "valkey-server"))):
        with RedisPair(program) as redis:
            seen = asyncio.run(fail_redis_over(redis, asked.clients, asked.times))
        sys.stdout.write(f"{program} {json.dumps(seen.told(), indent=1)}\n")
        check(seen, 2.0)
        with RedisPair(program) as redis, RedisSentinel(redis.primary.port, program=program) as sentinel:
            seen = asyncio.run(fail_sentinels_over(redis, sentinel, asked.clients))
        sys.stdout.write(f"{program} and a Sentinel {json.dumps(seen.told(), indent=1)}\n")
        check_answers(seen, 10.0)


if __name__ == "__main__":
    _main()
