"""PostgreSQL and Redis change places under clients: no 500, no budget overdrawn, no row lost or twice."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from mlops_backend.errors import DatabaseBusy, DatabaseDown
from mlops_backend.services.other.database import Database
from mlops_backend.setting_stores import database_url as with_driver
from tests.e2e.failovers import (
    ADMIN,
    check,
    check_answers,
    fail_postgres_over,
    fail_redis_over,
    fail_sentinels_over,
    until,
)
from tests.fakes.forwarder import Forwarder
from tests.fakes.ollama import FakeOllama
from tests.fakes.postgres_pair import PostgresPair
from tests.fakes.redis_pair import RedisPair, RedisSentinel
from tests.fakes.redis_server import redis_program, valkey_program
from tests.service import Service, serving, settings_for

CLIENTS = 6
TIMES = 1
SECONDS = 8
STANDBY = "a standby answers, which cannot be written to; the primary is looked for"


@pytest.fixture(scope="module")
def pair() -> Iterator[PostgresPair]:
    """Two PostgreSQLs."""
    with PostgresPair() as running:
        yield running


def url_of(port: int) -> str:
    """Where the service finds its database."""
    return f"postgresql://postgres@127.0.0.1:{port}/postgres"


async def states_of(service: Service) -> tuple[set[str], dict[str, Any]]:
    """What the gauges and readiness say."""
    metrics = (await service.stranger.get("/metrics", headers=ADMIN)).text
    ready = (await service.stranger.get("/health/ready")).json()
    return {line for line in metrics.splitlines() if line.startswith(("mlops_database_", "mlops_redis_up"))}, ready


@pytest.mark.long
async def test_a_primary_that_becomes_a_standby_is_left(pair: PostgresPair) -> None:
    """While nobody can be written to it is 503 and told; once the address moves all works, and the bill is right."""

    async def told(service: Service) -> None:
        gauges, ready = await states_of(service)
        assert {"mlops_database_up 0.0", "mlops_database_writable 0.0"} <= gauges
        assert "degraded" in ready
        assert STANDBY in service.services.get(Database).trouble

    seen = await fail_postgres_over(pair, CLIENTS, TIMES, told)
    check(seen, 5)
    assert seen.written[503] > 0
    assert set(seen.refused) <= {"database_down", "database_busy", "rate_limited"}


@pytest.mark.parametrize(
    "program", [redis_program, pytest.param(valkey_program, marks=pytest.mark.long)], ids=["redis", "valkey"]
)
async def test_a_redis_that_becomes_a_replica_is_left(program: Callable[[], str]) -> None:
    """Budgets are 503 for a moment, and are kept before and after it."""

    async def told(service: Service) -> None:
        gauges, _ = await states_of(service)
        assert "mlops_redis_up 0.0" in gauges

    with RedisPair(program()) as redis:
        seen = await fail_redis_over(redis, CLIENTS, TIMES, told)
    check(seen, 2)
    assert seen.generated[503] > 0
    assert set(seen.refused) <= {"limits_unavailable", "rate_limited"}


@pytest.mark.parametrize(
    "program", [redis_program, pytest.param(valkey_program, marks=pytest.mark.long)], ids=["redis", "valkey"]
)
async def test_a_redis_that_sentinels_watch_is_followed(program: Callable[[], str]) -> None:
    """The primary is switched off: whom the Sentinel puts in its place is found at the same address."""
    with RedisPair(program()) as redis, RedisSentinel(redis.primary.port, program=program()) as sentinel:
        seen = await fail_sentinels_over(redis, sentinel, CLIENTS)
    check_answers(seen, 10)
    assert set(seen.refused) <= {"limits_unavailable", "rate_limited"}


async def test_a_service_that_starts_on_a_standby_says_so(pair: PostgresPair) -> None:
    """In one line of the log, and in the trouble that the banner shows; it begins when the primary is there."""
    async with Forwarder(pair.standby.port) as address:
        with capture_logs() as logs:
            database = Database(with_driver(url_of(address.port)))
            await database.open()
            assert not database.up
            assert STANDBY in database.trouble
            address.target = pair.primary.port
            await until(lambda: database.up, 10)
            await database.aclose()
    [line] = [log for log in logs if log["log_level"] == "error"]
    assert (line["event"], line["error"]) == ("the database is away", STANDBY)


async def test_a_database_that_may_only_be_read_says_so(pair: PostgresPair) -> None:
    """`default_transaction_read_only`, as some set it when a disk is full: it is read, and not written to."""
    async with Forwarder(pair.primary.port) as address:
        database = Database(with_driver(url_of(address.port)))
        await database.open()
        assert database.up
        await database.aclose()
        execute(pair, "ALTER DATABASE postgres SET default_transaction_read_only = on")
        try:
            database = Database(with_driver(url_of(address.port)))
            await database.open()
            assert (database.reading_state.up, database.writing_state.up) == (True, False)
            with pytest.raises(DatabaseDown):
                await write(database)
            async with database.reading() as connection:
                await connection.execute(text("SELECT 1"))
            assert (database.reading_state.up, database.writing_state.up) == (True, False)
        finally:
            execute(pair, "SET default_transaction_read_only = off", "ALTER DATABASE postgres RESET ALL")
        with pytest.raises(DatabaseDown):  # by a connection from before, which is the last of them
            await write(database)
        await write(database)
        assert database.up
        await database.aclose()


async def write(database: Database, statements: str = "UPDATE api_key_revision SET value = value") -> None:
    """Change nothing, in a transaction that would."""
    async with database.writing() as connection:
        for statement in statements.split(";"):
            await connection.execute(text(statement))


def execute(pair: PostgresPair, *statements: str) -> None:
    """Do something as the administrator."""
    words = [word for statement in statements for word in ("-c", statement)]
    pair.primary.run("psql", "-h", "127.0.0.1", "-p", str(pair.primary.port), "-U", "postgres", *words)


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("SET LOCAL statement_timeout = 20; SELECT pg_sleep(5)", DatabaseBusy),
        ("SELECT pg_terminate_backend(pg_backend_pid())", DatabaseDown),
    ],
)
async def test_what_ends_a_statement_is_a_state_of_the_database(
    pair: PostgresPair, statement: str, error: type[DatabaseDown]
) -> None:
    """A timeout of its own makes it busy, an administrator's end makes it away; the next one is served."""
    async with Forwarder(pair.primary.port) as address:
        database = Database(with_driver(url_of(address.port)))
        await database.open()
        with pytest.raises(DatabaseDown) as raised:
            await write(database, statement)
        assert type(raised.value) is error
        await write(database)
        assert database.up
        await database.aclose()


@pytest.mark.long
async def test_a_path_that_swallows_packets_costs_seconds(pair: PostgresPair) -> None:
    """Neither a minute nor a 500: every request has its 503 within seconds, and is served when the path is back."""

    async def make_key(service: Service) -> tuple[int, float]:
        began = perf_counter()
        answer = await service.stranger.post("/api/admin/keys", headers=ADMIN, json={"name": "one"})
        return answer.status_code, perf_counter() - began

    async with (
        FakeOllama() as fake,
        Forwarder(pair.primary.port) as address,
        serving(settings_for(fake.url, database_url=url_of(address.port))) as service,
    ):
        assert (await make_key(service))[0] == 201
        address.silent = True
        told = await asyncio.gather(*(make_key(service) for _ in range(20)))
        assert {status for status, _ in told} == {503}
        assert max(seconds for _, seconds in told) < SECONDS
        address.silent = False
        await until(lambda: service.services.get(Database).up, 10)
        assert (await make_key(service))[0] == 201


async def test_silence_of_the_path_is_noticed_by_the_system(pair: PostgresPair) -> None:
    """Also where somebody waits for a long answer: the socket's own timeouts are set on every connection."""
    database = Database(with_driver(url_of(pair.primary.port)))
    await database.open()
    async with database.reading() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        made = driver._transport.get_extra_info("socket")
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert 0 < made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 10_000
        assert 0 < made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 10
    await database.aclose()
