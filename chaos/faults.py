"""Faults, and the schedule of them: what, when, on whom and for how long, by a seed."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from chaos.backends import USUAL, ChaosOllama
from chaos.stage import Stage
from tests.databases import Postgres
from tests.fakes.ollama import Mode
from tests.fakes.redis_server import RedisServer

Fault = Callable[[Stage, random.Random], Coroutine[Any, Any, None]]


async def kill(stage: Stage, dice: random.Random) -> None:
    """A backend is gone with all that it was doing, and comes back."""
    async with stage.broken(dice) as backend:
        await backend.stop()
        await asyncio.sleep(dice.uniform(0.3, 2.0))
        await backend.start()


async def flap(stage: Stage, dice: random.Random) -> None:
    """A backend comes and goes."""
    async with stage.broken(dice) as backend:
        for _ in range(3):
            await backend.stop()
            await asyncio.sleep(dice.uniform(0.05, 0.3))
            await backend.start()
            await asyncio.sleep(dice.uniform(0.05, 0.3))


def misbehave(mode: Mode, least: float, most: float) -> Fault:
    """A backend answers, but how."""

    async def fault(stage: Stage, dice: random.Random) -> None:
        async with stage.broken(dice) as backend:
            await _in_mode(backend, mode, dice.uniform(least, most))

    return fault


async def _in_mode(backend: ChaosOllama, mode: Mode, seconds: float) -> None:
    backend.mode = mode
    await asyncio.sleep(seconds)
    backend.mode = USUAL


async def slow_down(stage: Stage, dice: random.Random) -> None:
    """A backend takes twenty times as long for each token."""
    async with stage.broken(dice) as backend:
        backend.token_delay *= 20
        await asyncio.sleep(dice.uniform(0.5, 2.0))
        backend.token_delay /= 20


async def kill_worker(stage: Stage, dice: random.Random) -> None:
    """A worker dies at once; the parent starts another one."""
    if workers := stage.workers():
        dice.choice(workers).kill()
        stage.killed_workers += 1
        await asyncio.sleep(3)


async def restart_redis(stage: Stage, dice: random.Random) -> None:
    """Redis is away for a moment."""
    if stage.redis is not None:
        await _restart(stage, dice, stage.redis)


async def restart_database(stage: Stage, dice: random.Random) -> None:
    """PostgreSQL is away for a moment."""
    if stage.postgres is not None:
        await _restart(stage, dice, stage.postgres)


async def _restart(stage: Stage, dice: random.Random, server: RedisServer | Postgres) -> None:
    """One at a time."""
    if server not in stage.away:
        stage.away.append(server)
        await stage.in_thread(server.stop)
        await asyncio.sleep(dice.uniform(0.2, 1.0))
        await stage.in_thread(server.start)
        stage.away.remove(server)


async def rewrite_file(stage: Stage, dice: random.Random) -> None:
    """The file of backends says something else: another bound or weight, or the same in another order."""
    stage.write_backends(dice)
    await asyncio.sleep(1)


FAULTS: Mapping[str, Fault] = {
    "kill": kill,
    "flap": flap,
    "hang": misbehave(Mode.HANG_BEFORE_HEADERS, 0.2, 0.8),
    "slow": slow_down,
    "busy": misbehave(Mode.BUSY_503, 0.3, 1.5),
    "close": misbehave(Mode.CLOSE_BEFORE_HEADERS, 0.3, 1.5),
    "cut": misbehave(Mode.CUT_MID_STREAM, 0.3, 1.5),
    "worker": kill_worker,
    "redis": restart_redis,
    "database": restart_database,
    "file": rewrite_file,
}


async def go_wrong(stage: Stage, names: list[str], every: float, dice: random.Random, done: Counter[str]) -> None:
    """One fault after the other, some of them at the same time, until it is cancelled; what has begun is ended."""
    under_way: set[asyncio.Task[None]] = set()
    try:
        while True:
            await asyncio.sleep(dice.uniform(0.5, 1.5) * every)
            name = dice.choice(names)
            done[name] += 1
            task = asyncio.create_task(FAULTS[name](stage, random.Random(dice.random())))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
    finally:
        await asyncio.gather(*under_way)
