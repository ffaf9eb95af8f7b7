"""Floods: of wrong keys, of questions about usage, of connections."""

import asyncio
import sqlite3
import time
from contextlib import closing

from trial import proc, wire
from trial.case import GENERATE, Case, Scene, several
from trial.ledger import SEEDED
from trial.service import KEYS
from trial.wire import Answer

A_SECOND = 200
SECONDS = 5
ROWS = 200_000
USAGE = "/api/usage?group_by=model,route,outcome&interval=hour"
CONNECTIONS = 500
INSERT = """
    INSERT INTO generations SELECT
        printf('%032x', value), ? || value, ? - value * 10000, ?,
        '/api/llm/generate', 'ollama', 'model-' || (value % 50), 'http://127.0.0.1',
        'done', 200, '', 10, 20, 0, 5, 100, 100, 200, 0
    FROM (WITH RECURSIVE numbers(value) AS (SELECT 0 UNION ALL SELECT value + 1 FROM numbers LIMIT ?)
          SELECT value FROM numbers)
"""


async def wrong_keys(scene: Scene) -> None:
    """Two hundred wrong keys a second."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    asking: list[asyncio.Task[Answer]] = []
    for number in range(A_SECOND * SECONDS):
        guess = f"a-wrong-key-{scene.rng.getrandbits(128):032x}"
        request = wire.post(GENERATE, {"prompt": "Why?"}, {"X-API-Key": guess, "Connection": "close"})
        asking.append(asyncio.create_task(scene.ask(request)))
        await asyncio.sleep(max(0.0, begun + number / A_SECOND - loop.time()))
    answers = list(await asyncio.gather(*asking))
    good = {answer.status for answer in answers} <= {401, 429}
    scene.check(f"{len(answers)} wrong keys are refused, all", several(answers), good)


async def with_history(scene: Scene) -> None:
    """Give one key a long history."""
    await asyncio.to_thread(_insert, scene)


def _insert(scene: Scene) -> None:
    with closing(sqlite3.connect(scene.service.database, timeout=10)) as connection, connection:
        connection.execute(INSERT, (SEEDED, int(time.time() * 1000), "settings:one", ROWS))


async def usage(scene: Scene) -> None:
    """One key asks for its usage fifty times at once; another asks too."""
    asking = asyncio.gather(*(_usage(scene, "one") for _ in range(50)))
    others: list[Answer] = []
    for _ in range(6):
        await asyncio.sleep(0.3)
        others.append(await _usage(scene, "two"))
    answers = await asking
    slowest = max(answer.seconds for answer in others)
    good = slowest <= 1.0 and {answer.status for answer in others} == {200}
    scene.check("another key's usage within 1 s", f"{several(others)}, {slowest:.2f} s", good)
    good = {answer.status for answer in answers} <= {200, 429, 503}
    scene.check("the fifty are answered or refused", several(answers), good)


async def _usage(scene: Scene, key: str) -> Answer:
    request = wire.head("GET", USAGE, {"X-API-Key": KEYS[key], "Connection": "close"})
    return await scene.ask(request, 30.0)


async def connections(scene: Scene) -> None:
    """Five hundred connections at once are opened, and closed."""
    before = proc.open_descriptors(scene.service.pid)
    failed = 0
    for _ in range(5):
        opened = await asyncio.gather(
            *(wire.connect(scene.service.port) for _ in range(CONNECTIONS)), return_exceptions=True
        )
        for one in opened:
            if isinstance(one, BaseException):
                failed += 1
            else:
                one[1].transport.abort()
        await asyncio.sleep(1.0)
    scene.check(f"5 × {CONNECTIONS} are taken", f"{failed} failed", not failed)
    await asyncio.sleep(4.0)
    grown = proc.open_descriptors(scene.service.pid) - before
    scene.check("their descriptors are free within 5 s", f"{grown:+d}", grown <= 20)


CASES = (
    Case("wrong-keys", "200 wrong keys a second", wrong_keys, 30),
    Case("usage", "50 questions about usage at once", usage, 60, prepare=with_history),
    Case("connections", "500 connections opened and closed at once", connections, 30),
)
