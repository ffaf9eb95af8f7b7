"""Several workers as one service: `WORKERS=2 python -m mlops_backend`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.gates import AfterFirstLine
from tests.e2e.server_process import COMMAND, KEY, ServerProcess, running, serving_process
from tests.e2e.test_drain import Stream, ended_well, open_stream
from tests.fakes.ollama import FakeOllama

TWO = {"WORKERS": "2"}
STARTING = {"HOST": "127.0.0.1", "PORT": "0", "API_KEY": KEY, "EMBEDDED_ENGINE": "off", **TWO}
FEWEST = 2
MOST = 50


def workers_of(service: ServerProcess) -> list[psutil.Process]:
    """The processes that the parent has started."""
    return psutil.Process(service.pid).children()


def connections_of(worker: psutil.Process) -> int:
    """How many clients a worker has."""
    port = {each.laddr.port for each in worker.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
    connected = [each for each in worker.net_connections("tcp") if each.status == psutil.CONN_ESTABLISHED]
    return sum(each.laddr.port in port for each in connected)


async def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def silent_database() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The address of a database that never answers, and that somebody has asked it."""
    connected = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as silent:
        yield f"postgresql://mlops:x@127.0.0.1:{silent.sockets[0].getsockname()[1]}/mlops", connected


async def number(client: httpx.AsyncClient, name: str) -> float:
    """A number of `/metrics`."""
    answer = await client.get("/metrics")
    (line,) = [line for line in answer.text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


async def streams_on_both(scope: AsyncExitStack, client: httpx.AsyncClient, service: ServerProcess) -> list[Stream]:
    """Streams, of which each worker has some; where a worker may be late to come, chance decides who has more."""
    client.timeout = httpx.Timeout(60)  # they are held for as long as another worker takes to start
    streams: list[Stream] = []
    had = [connections_of(worker) for worker in workers_of(service)]
    while (
        min(connections_of(worker) - before for worker, before in zip(workers_of(service), had, strict=True)) < FEWEST
    ):
        assert len(streams) < MOST, "a worker gets none"
        streams.append(await open_stream(scope, client))
    return streams


async def was_cut(stream: Stream) -> bool:
    """Whether a stream ended without its last line."""
    try:
        lines = await stream.rest()
    except httpx.TransportError:
        return True
    return not lines or json.loads(lines[-1]).get("done") is not True


async def test_they_are_one_service(fake: FakeOllama, tmp_path: Path) -> None:
    """One banner, connections for each of them, clients that leave noticed by each, one set of numbers, one end."""
    fake.gate = AfterFirstLine()
    async with (
        serving_process(tmp_path, fake.url, **TWO) as service,
        service.client() as client,
        AsyncExitStack() as scope,
    ):
        assert service.output.count("  address   ") == 1
        assert "  workers   2 processes\n" in service.output
        streams = await streams_on_both(scope, client, service)
        async with AsyncExitStack() as leaving:
            await streams_on_both(leaving, client, service)
        await fake.wait_until(lambda: fake.active == len(streams))
        for _ in range(4):
            assert await number(client, "mlops_workers") == 2
            assert await number(client, "mlops_generations_running") == len(streams)
            assert (await client.get("/health/ready")).json() == {"status": "ready"}
        os.killpg(service.pid, signal.SIGTERM)
        await service.printed('(?s)"draining".*"draining"')
        assert (await client.get("/health/ready")).status_code == 503
        fake.release()
        assert not any(await asyncio.gather(*map(was_cut, streams)))
        assert await ended_well(service)


async def test_one_that_dies_is_started_anew(fake: FakeOllama, tmp_path: Path) -> None:
    """Its clients see a cut at once, those of the other one nothing; what was counted stays counted."""
    fake.gate = AfterFirstLine()
    async with (
        serving_process(tmp_path, fake.url, **TWO) as service,
        service.client() as client,
        AsyncExitStack() as scope,
    ):
        streams = await streams_on_both(scope, client, service)
        first, second = workers_of(service)
        of_first = connections_of(first)
        first.kill()
        watched = [asyncio.create_task(was_cut(stream)) for stream in streams]
        await until(lambda: sum(each.done() for each in watched) == of_first)
        assert all(each.result() for each in watched if each.done())
        assert (await client.get("/health")).status_code == 200, "nobody waits for another one to start"
        await service.printed('"worker_died"')
        async with asyncio.timeout(20):
            while await number(client, "mlops_workers") < 2:
                await asyncio.sleep(0.05)
        assert second in workers_of(service)
        assert first not in workers_of(service)
        fake.release()
        assert sum(await asyncio.gather(*watched)) == of_first
        assert service.output.count("  address   ") == 1
        service.signal(signal.SIGTERM)
        assert await ended_well(service)


@pytest.mark.long
async def test_one_that_is_told_to_end_finishes_and_is_replaced(fake: FakeOllama, tmp_path: Path) -> None:
    """SIGTERM to a worker alone: it finishes its streams while the others take what comes, and another one follows."""
    fake.gate = AfterFirstLine()
    async with (
        serving_process(tmp_path, fake.url, **TWO) as service,
        service.client() as client,
        AsyncExitStack() as scope,
    ):
        streams = await streams_on_both(scope, client, service)
        first, _ = workers_of(service)
        first.terminate()
        await service.printed('"draining"')
        for _ in range(4):
            assert (await client.get("/health/ready")).json() == {"status": "ready"}
            streams.append(await open_stream(scope, client))
        fake.release()
        assert not any(await asyncio.gather(*map(was_cut, streams)))
        await service.printed(r'"status": ?0\b.*"worker_died"')
        service.signal(signal.SIGTERM)
        assert await service.ended() == 0


async def test_without_the_parent_there_are_no_workers(fake: FakeOllama, tmp_path: Path) -> None:
    """A parent that is killed takes its workers with it, whatever they do, and the address is free."""
    fake.gate = AfterFirstLine()
    async with (
        serving_process(tmp_path, fake.url, **TWO) as service,
        service.client() as client,
        AsyncExitStack() as scope,
    ):
        streams = await streams_on_both(scope, client, service)
        service.signal(signal.SIGKILL)
        assert all(await asyncio.gather(*map(was_cut, streams)))
        await until(lambda: not service.left_something())
        with pytest.raises(httpx.ConnectError):
            await client.get("/health")


@pytest.mark.long
async def test_a_second_signal_ends_them_all(fake: FakeOllama, tmp_path: Path) -> None:
    """At once, whatever runs, with a status that is not 0; an echo of the first is no second one."""
    fake.gate = AfterFirstLine()
    async with (
        serving_process(tmp_path, fake.url, DRAIN_TIMEOUT="60", **TWO) as service,
        service.client() as client,
        AsyncExitStack() as scope,
    ):
        streams = await streams_on_both(scope, client, service)
        service.signal(signal.SIGTERM)
        os.killpg(service.pid, signal.SIGTERM)
        await service.printed('(?s)"draining".*"draining"')
        await asyncio.sleep(0.4)
        assert (await client.get("/health")).status_code == 200
        service.signal(signal.SIGTERM)
        assert await service.ended(3) == 1
        await until(lambda: not service.left_something())
        assert all(await asyncio.gather(*map(was_cut, streams)))


@pytest.mark.long
async def test_what_keeps_a_worker_from_starting_is_told_once(fake: FakeOllama, tmp_path: Path) -> None:
    """The service ends with that reason in one line, and with the status that one process would end with."""
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"no database, though it has some length" * 200)
    settings = {"HOST": "127.0.0.1", "API_KEY": KEY, "EMBEDDED_ENGINE": "off", **TWO}
    refused = [
        ({"PORT": "0", "DATABASE_URL": f"sqlite:///{garbage}"}, 1, "The service cannot start: DATABASE_URL: "),
        ({"PORT": "0", "DEFAULT_MODEL": "huge:120b-cloud"}, 2, "DEFAULT_MODEL: "),
        ({"PORT": str(fake.port)}, 1, "HOST, PORT: cannot listen on "),
        ({"PORT": "0", "DEBUG": "true"}, 2, "WORKERS: "),
    ]
    for variables, status, begin in refused:
        async with running(tmp_path, COMMAND, {**settings, **variables}) as service:
            assert await service.ended(30) == status, service.report()
            (line,) = service.errors.splitlines()
            assert line.startswith(begin)
            assert "  address   " not in service.output
            assert not service.left_something()


async def test_one_that_is_killed_while_it_starts_is_told(tmp_path: Path) -> None:
    """The service ends, for it has never been whole; the log says of which process, and how that ended."""
    async with (
        silent_database() as (address, connected),
        running(tmp_path, COMMAND, {**STARTING, "DATABASE_URL": address}) as service,
    ):
        async with asyncio.timeout(60):
            await connected.wait()
        (worker,) = workers_of(service)
        worker.kill()
        assert await service.ended(30) == 1, service.report()
        (died,) = [line for line in map(json.loads, service.output.splitlines()) if line["event"] == "worker_died"]
        assert (died["pid"], died["status"]) == (worker.pid, -signal.SIGKILL)


async def test_signal_while_they_start_ends_them(tmp_path: Path) -> None:
    """With 0 and no stack trace, though the first one waits for its database."""
    async with (
        silent_database() as (address, connected),
        running(tmp_path, COMMAND, {**STARTING, "DATABASE_URL": address}) as service,
    ):
        async with asyncio.timeout(60):
            await connected.wait()
        service.signal(signal.SIGINT)
        assert await ended_well(service)
