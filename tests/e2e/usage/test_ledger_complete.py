"""Thousands of generations of every ending over two workers: each is in the ledger once, as it ended."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from mlops_backend.services.llm.dialects import tokens_in
from tests.databases import Postgres
from tests.e2e.raw_client import RawClient
from tests.e2e.server_process import KEY, ServerProcess, serving_process
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.fakes.redis_server import RedisServer

AT_ONCE: Final = 48
SLOW: Final = 80
PROMPT_TOKENS: Final = 4
WORDS: Final = len(DEFAULT_WORDS)
BEFORE_TROUBLE: Final = 2
# What nobody told of those two is estimated: a token for four letters, if that is more than the pieces are.
ESTIMATED: Final = max(BEFORE_TROUBLE, tokens_in(len("".join(DEFAULT_WORDS[:BEFORE_TROUBLE]))))
MODES: Final = {
    "works": Mode.NORMAL,
    "hangs": Mode.HANG_BEFORE_HEADERS,
    "pauses": Mode.HANG_MID_STREAM,
    "cuts": Mode.CUT_MID_STREAM,
    "closes": Mode.CLOSE_BEFORE_HEADERS,
    "fails": Mode.ERROR_500,
}


@dataclass(frozen=True)
class Row:
    """What the ledger must say of one generation."""

    outcome: str
    status: int
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass
class Driver:
    """The clients, the workers they ask, and what they expect to find in the ledger."""

    workers: list[ServerProcess]
    fakes: dict[str, FakeOllama]
    limited_key: str
    random: random.Random = field(default_factory=lambda: random.Random(4))
    expected: dict[str, Row] = field(default_factory=dict)
    seen: dict[str, set[str]] = field(default_factory=dict)
    read: Counter[str] = field(default_factory=Counter)

    @asynccontextmanager
    async def asking(
        self, name: str, path: str, body: dict[str, Any], row: Row, key: str = KEY
    ) -> AsyncIterator[RawClient]:
        """A client that has sent its request, which is expected to end as `row`."""
        self.expected[name] = row
        async with await RawClient.connect(self.random.choice(self.workers).url) as client:
            await client.request("POST", path, body, X_API_Key=key, X_Request_ID=name, Connection="close")
            yield client

    async def reached(self, model: str, name: str) -> None:
        """Wait until the backend has the request whose prompt begins with this name."""
        fake = self.fakes[model]
        while name not in self.seen.setdefault(model, set()):
            for request in fake.requests[self.read[model] :]:
                self.read[model] += 1
                if request.body:
                    self.seen[model].add(str(request.json().get("prompt", "")).partition(" ")[0])
            await asyncio.sleep(0.002)


def generation(model: str, name: str, *, stream: bool) -> dict[str, Any]:
    """A request whose prompt has as many tokens by the fake's count, words, as by the service's estimate."""
    return {"model": model, "prompt": f"{name} say it to", "stream": stream}


def chat(name: str, *, stream: bool) -> dict[str, Any]:
    """The same as a conversation."""
    return {"model": "works", "messages": [{"role": "user", "content": f"{name} say it to"}], "stream": stream}


DONE: Final = Row("done", 200, PROMPT_TOKENS, WORDS)


async def done(driver: Driver, name: str) -> None:
    """A generation that is answered, by any route."""
    stream = driver.random.random() < 0.5
    path, body = driver.random.choice(
        [
            ("/api/generate", generation("works", name, stream=stream)),
            ("/api/chat", chat(name, stream=stream)),
            ("/v1/chat/completions", chat(name, stream=stream)),
            ("/v1/completions", generation("works", name, stream=stream)),
            ("/v1/messages", {**chat(name, stream=stream), "max_tokens": 99}),
            ("/v1/responses", {"model": "works", "input": f"{name} say it to", "stream": stream}),
            ("/api/llm/stream", generation("works", name, stream=True)),
            ("/api/llm/generate", generation("works", name, stream=False)),
            ("/api/llm/chat", chat(name, stream=stream)),
        ]
    )
    async with driver.asking(name, path, body, DONE) as client:
        assert await client.head() == 200
        await client.at_end()


async def gone_while_waiting(driver: Driver, name: str) -> None:
    """The client leaves before the backend has said anything, streamed or not."""
    body = generation("hangs", name, stream=driver.random.random() < 0.5)
    row = Row("client_gone", 499, PROMPT_TOKENS)
    async with driver.asking(name, "/api/generate", body, row) as client:
        await driver.reached("hangs", name)
        await leave(driver, client)


async def gone_in_the_middle(driver: Driver, name: str) -> None:
    """The client leaves in the middle of a stream."""
    row = Row("client_gone", 200, PROMPT_TOKENS, ESTIMATED)
    async with driver.asking(name, "/api/generate", generation("pauses", name, stream=True), row) as client:
        assert await client.head() == 200
        lines = 0
        while lines < BEFORE_TROUBLE:
            lines += (await client.chunk()).count(b"\n")
        await leave(driver, client)


async def leave(driver: Driver, client: RawClient) -> None:
    """Close, or reset."""
    await (client.reset() if driver.random.random() < 0.5 else client.leave())


async def cut(driver: Driver, name: str) -> None:
    """The backend's stream breaks off."""
    row = Row("error", 200, PROMPT_TOKENS, ESTIMATED)
    async with driver.asking(name, "/api/generate", generation("cuts", name, stream=True), row) as client:
        assert await client.head() == 200
        await client.at_end()


async def closed(driver: Driver, name: str) -> None:
    """The backend closes without an answer, or answers 500."""
    model = driver.random.choice(["closes", "fails"])
    row = Row("error", 502 if model == "closes" else 500)
    async with driver.asking(name, "/api/generate", generation(model, name, stream=True), row) as client:
        assert await client.head() == row.status
        await client.at_end()


async def late(driver: Driver, name: str) -> None:
    """The backend's first byte does not come in time."""
    body = generation("hangs", name, stream=True)
    async with driver.asking(name, "/api/generate", body, Row("timeout", 504, PROMPT_TOKENS)) as client:
        assert await client.head() == 504


async def idle(driver: Driver, name: str) -> None:
    """The backend pauses for too long in the middle."""
    row = Row("timeout", 200, PROMPT_TOKENS, ESTIMATED)
    async with driver.asking(name, "/api/generate", generation("pauses", name, stream=True), row) as client:
        assert await client.head() == 200
        await client.at_end()


async def refused(driver: Driver, name: str) -> None:
    """A model that may not be named, or a body that does not fit."""
    path, body, status = driver.random.choice(
        [
            ("/v1/chat/completions", {**chat(name, stream=True), "model": "big:cloud"}, 403),
            ("/api/llm/generate", {"model": "works", "prompt": 7}, 422),
            ("/api/llm/chat", {"model": "works", "messages": 7}, 422),
        ]
    )
    async with driver.asking(name, path, body, Row("refused", status)) as client:
        assert await client.head() == status
        await client.at_end()


async def over_the_limit(driver: Driver, name: str) -> None:
    """A key that has used what it may."""
    body = generation("works", name, stream=True)
    async with driver.asking(name, "/api/generate", body, Row("refused", 429), driver.limited_key) as client:
        assert await client.head() == 429
        await client.at_end()


async def use_up_the_limit(driver: Driver) -> None:
    """The one generation that the limited key has."""
    body = generation("works", "l00000", stream=True)
    async with driver.asking("l00000", "/api/generate", body, DONE, driver.limited_key) as client:
        assert await client.head() == 200
        await client.at_end()


async def drained(driver: Driver, name: str, running: asyncio.Semaphore) -> None:
    """A stream that is cut short because its worker stops."""
    row = Row("drained", 200, PROMPT_TOKENS, ESTIMATED)
    async with driver.asking(name, "/api/generate", generation("pauses", name, stream=True), row) as client:
        assert await client.head() == 200
        assert await client.chunk()
        running.release()
        await client.at_end()


ENDINGS: Final[dict[Callable[[Driver, str], Awaitable[None]], float]] = {
    done: 0.62,
    gone_while_waiting: 0.08,
    gone_in_the_middle: 0.08,
    cut: 0.08,
    closed: 0.06,
    refused: 0.05,
    over_the_limit: 0.03,
}


async def drive(driver: Driver, total: int) -> None:
    """Ask as many times as wanted, so many at once; the slow ones all together beside them."""
    pace = asyncio.Semaphore(AT_ONCE)

    async def one(ending: Callable[[Driver, str], Awaitable[None]], name: str) -> None:
        async with pace:
            await ending(driver, name)

    kinds = driver.random.choices(list(ENDINGS), list(ENDINGS.values()), k=total - 2 * SLOW)
    async with asyncio.TaskGroup() as clients:
        for number in range(SLOW):
            clients.create_task((late if number % 2 else idle)(driver, f"s{number:05}"))
        for number, kind in enumerate(kinds):
            clients.create_task(one(kind, f"r{number:05}"))


async def stop_while_streaming(driver: Driver) -> None:
    """Stop both workers while streams run that do not end by themselves."""
    running = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as clients:
        for number in range(SLOW):
            clients.create_task(drained(driver, f"d{number:05}", running))
        for _ in range(SLOW):
            await running.acquire()
        for worker in driver.workers:
            worker.signal(signal.SIGTERM)
    for worker in driver.workers:
        assert await worker.ended(20) == 0, worker.report()


async def limited_key(worker: ServerProcess) -> str:
    """A key that may generate once a day."""
    async with worker.client() as client:
        made = await client.post("/api/admin/keys", json={"name": "limited", "limits": {"requests": "1/day"}})
    assert made.status_code == 201, made.text
    await asyncio.sleep(1)  # by then every worker knows it
    return str(made.json()["key"])


async def ledger(url: str) -> list[asyncpg.Record]:
    """Every row."""
    name, _, host = url.partition("@/")[2].partition("?host=")
    connection = await asyncpg.connect(host=host, user="postgres", database=name)
    try:
        return list(await connection.fetch("SELECT * FROM generations"))
    finally:
        await connection.close()


def tokens_of(fakes: dict[str, FakeOllama]) -> int:
    """What the backends read and wrote, by their own records."""
    written = {"works": WORDS, "pauses": ESTIMATED, "cuts": ESTIMATED}
    asked = {model: sum(bool(request.body) for request in fake.requests) for model, fake in fakes.items()}
    return sum(asked[model] * (PROMPT_TOKENS + written.get(model, 0)) for model in ("hangs", *written))


@pytest.mark.parametrize(
    "total", [400, pytest.param(2000, marks=pytest.mark.long), pytest.param(10_000, marks=pytest.mark.soak)]
)
async def test_every_generation_is_in_the_ledger_once_and_as_it_ended(
    tmp_path: Path, postgres: Postgres, total: int
) -> None:
    """Whatever its end and whoever served it; the sums are those of the backends."""
    url = await asyncio.to_thread(postgres.fresh)
    with RedisServer() as redis:
        async with AsyncExitStack() as stack:
            fakes = {
                model: await stack.enter_async_context(FakeOllama(models=[f"{model}:latest"], mode=mode))
                for model, mode in MODES.items()
            }
            settings = {
                "DATABASE_URL": url,
                "REDIS_URL": redis.url,
                "FIRST_BYTE_TIMEOUT": "6",
                "IDLE_TIMEOUT": "5",
                "DRAIN_TIMEOUT": "0.5",
                "LOG_LEVEL": "WARNING",
            }
            backends = [fake.url for fake in fakes.values()]
            workers = [
                await stack.enter_async_context(serving_process(tmp_path, *backends, **settings)) for _ in range(2)
            ]
            driver = Driver(workers, fakes, await limited_key(workers[0]))
            await use_up_the_limit(driver)
            await drive(driver, total)
            await stop_while_streaming(driver)
            errors = [worker.errors for worker in workers]
            told = tokens_of(fakes)
    rows = await ledger(url)
    assert errors == ["", ""]
    assert Counter(row["request_id"] for row in rows) == Counter(driver.expected.keys())
    found = {
        row["request_id"]: Row(row["outcome"], row["status"], row["prompt_tokens"], row["completion_tokens"])
        for row in rows
    }
    wrong = {name: (found[name], row) for name, row in driver.expected.items() if found[name] != row}
    assert not wrong, f"{len(wrong)} of {len(rows)}: {dict(list(wrong.items())[:5])}"
    assert sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows) == told
    assert {row["dialect"] for row in rows} == {"ollama", "openai", "anthropic"}
