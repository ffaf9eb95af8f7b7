"""Neglect: nobody reads the log, a disk is full, descriptors run out."""

import asyncio

from trial import wire
from trial.case import Case, Scene, several
from trial.disk import empty, fill
from trial.service import Stage
from trial.wire import Answer

DROPPED = "mlops_log_lines_dropped_total"
MOST_FILE = 8 << 20
TAIL = 16 << 10
AT_ONCE = 8
MOST_LOG = 1 << 20
HELD = 3.0


async def generations(scene: Scene, number: int) -> list[Answer]:
    """Make so many generations, some at a time."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one() -> Answer:
        async with room:
            return await scene.generate()

    return list(await asyncio.gather(*(one() for _ in range(number))))


def check_answers(scene: Scene, answers: list[Answer]) -> None:
    """Check that all were answered well."""
    scene.check(f"{len(answers)} generations are answered", several(answers), {a.status for a in answers} == {200})


async def check_dropped(scene: Scene) -> None:
    """Check that lines which could not be written are counted."""
    dropped = (await scene.metrics()).get(DROPPED)
    scene.check("lost log lines are counted", "no such number" if dropped is None else f"{dropped:.0f}", bool(dropped))


async def reader_gone(scene: Scene) -> None:
    """The log's reader has gone."""
    check_answers(scene, await generations(scene, 50))
    await check_dropped(scene)


async def reader_stuck(scene: Scene) -> None:
    """Nobody reads the log, which is longer than a pipe."""
    check_answers(scene, await generations(scene, 400))


async def log_limited(scene: Scene) -> None:
    """The log reaches the largest size of a file."""
    check_answers(scene, await generations(scene, 100))
    await check_dropped(scene)


async def database_full(scene: Scene) -> None:
    """The database's disk is full for a while."""
    before = scene.service.log_text()
    fill(scene.service.disk, scene.service.pid)
    answers: list[Answer] = []
    for _ in range(10):
        answers += await generations(scene, 4)
        await asyncio.sleep(1.0)
    check_answers(scene, answers)
    said = _complaints(scene.service.log_text()) - _complaints(before)
    scene.check("the log says it once, not every second", f"{said} lines in 10 s", 1 <= said <= 4)
    empty(scene.service.disk, scene.service.pid)
    await asyncio.sleep(4.0)
    waiting = (await scene.metrics()).get("mlops_ledger_waiting", -1)
    scene.check("rows are written when there is room", f"{waiting:.0f} wait after 4 s", 0 <= waiting < AT_ONCE)


def _complaints(log: str) -> int:
    return sum('"event":"request"' not in line and '"level":"info"' not in line for line in log.splitlines())


async def descriptors(scene: Scene) -> None:
    """There are more idle connections than descriptors."""
    for title, sources in (("one address", 1), ("20 addresses", 20)):
        size = scene.service.log_size()
        held = await _idle(scene, sources)
        busy = await scene.busy(HELD)
        fresh = await scene.ask(wire.head("GET", "/health", {"Connection": "close"}), 5.0, "127.0.0.200")
        grown = scene.service.log_size() - size
        for writer in held:
            writer.transport.abort()
        seen = f"{busy:.0f} % of a core, {grown >> 10} KiB of log"
        scene.check(f"600 idle of {title}: < 50 % CPU, < 1 MB of log", seen, busy < 50 and grown < MOST_LOG)
        seen = several([fresh])
        scene.check(f"600 idle of {title}: a new client is answered", seen, fresh.status in (200, 503))
        await asyncio.sleep(1.0)


async def _idle(scene: Scene, sources: int) -> list[asyncio.StreamWriter]:
    held = []
    for number in range(600):
        try:
            async with asyncio.timeout(1.0):
                _, writer = await wire.connect(scene.service.port, f"127.0.0.{number % sources + 2}")
        except (OSError, TimeoutError):
            continue
        held.append(writer)
    return held


CASES = (
    Case("log-reader-gone", "stdout is a pipe without a reader", reader_gone, in_ci=True, stage=Stage(output="gone")),
    Case("log-unread", "stdout is a pipe that nobody reads", reader_stuck, in_ci=True, stage=Stage(output="unread")),
    Case("log-disk-full", "stdout is on a full disk", reader_gone, stage=Stage(output="full")),
    Case(
        "log-size-limit",
        "the log reaches RLIMIT_FSIZE",
        log_limited,
        stage=Stage(limits={"fsize": MOST_FILE}, log_begins_at=MOST_FILE - TAIL),
    ),
    Case("database-full", "the database's disk is full for 10 s", database_full, 40, stage=Stage(small_disk=2048)),
    Case(
        "descriptors",
        "600 idle connections, 512 descriptors",
        descriptors,
        40,
        in_ci=True,
        stage=Stage({"UPSTREAM_MAX_CONNECTIONS": "100"}, {"nofile": 512}),
    ),
)
