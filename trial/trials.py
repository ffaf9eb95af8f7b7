"""One case from its start to its end: service, backend and witnesses started, the hostile part, what was seen."""

import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from trial.case import Case, Scene
from trial.disk import small_disk
from trial.helper import Helper, started
from trial.ledger import Comparison, compare, rows_of
from trial.service import KEYS, Service
from trial.table import Check
from trial.watch import Seen

MOST_GAP = 100.0
MACHINE_GAP = 30.0  # that of a quiet machine
MOST_MEMORY = 64
SETTLED = 8.0
WATCH_ENDS = 30.0
LINGER = 1.5  # so long the others are looked at afterwards
PROMISED = f"others: gap ≤ {MOST_GAP:.0f} ms, all served, ≤ {MOST_MEMORY} MB more, ledger exact, SIGTERM ends it"


@dataclass(frozen=True)
class Options:
    """What holds for all cases of a run; `deadline` is when it is to be over, by `time.monotonic()`."""

    seed: int
    deadline: float
    control_port: int


async def tried(case: Case, options: Options) -> list[Check]:
    """Try one case; whatever goes wrong with it is one line of the table."""
    checks: list[Check] = []
    with tempfile.TemporaryDirectory(prefix="trial-", ignore_cleanup_errors=True) as folder:
        try:
            async with _scene(case, options, Path(folder)) as scene:
                checks = scene.checks
                await _played(case, options, scene)
        except (OSError, RuntimeError, TimeoutError, ValueError) as error:
            checks.append(Check(case.name, "the case can be tried", f"{type(error).__name__} {error}", False))
    return checks


@asynccontextmanager
async def _scene(case: Case, options: Options, folder: Path) -> AsyncIterator[Scene]:
    seed = f"{options.seed}-{case.name}"
    async with started("trial.backend", "--seed", str(options.seed)) as backend:
        port = int(backend.first_line)
        service = Service(case.stage, folder, port)
        with small_disk(service.disk, case.stage.small_disk):
            try:
                service.start()
                await service.answers()
                scene = Scene(case.name, service, port, random.Random(seed))
                yield scene
            finally:
                service.clean()


async def _played(case: Case, options: Options, scene: Scene) -> None:
    bound = min(case.seconds, max(1.0, options.deadline - time.monotonic()))
    if case.prepare is not None:
        await case.prepare(scene)
    service = scene.service
    arguments = {"port": service.port, "control": options.control_port, "pid": service.pid, "key": KEYS["neighbour"]}
    words = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    async with started("trial.watch", *words) as witnesses:
        try:
            await asyncio.wait_for(case.play(scene), bound)
        except TimeoutError:
            scene.check(f"done within {bound:.0f} s", "took longer", False)
        except OSError as error:
            scene.check("the service takes connections", f"{type(error).__name__} {error}", False)
        await asyncio.sleep(LINGER)
        seen = await _seen(witnesses)
    scene.checks.append(await _others(scene, seen))


async def _seen(witnesses: Helper) -> Seen:
    return Seen.parse(await witnesses.finish(WATCH_ENDS))


async def _others(scene: Scene, seen: Seen) -> Check:
    """Compare what everybody else felt with what is promised of every case."""
    scene.ids.add(seen.sent, seen.answered)
    dropped = await _settled(scene)
    alive = scene.service.ended is None
    seconds, by_itself = await scene.service.stop()
    ledger = _ledger(scene, dropped)
    served = seen.generations - len(seen.failures)
    grown = seen.grown_kib / 1024
    parts = [
        (f"gap {seen.worst_gap:.0f} ms ({_machine(seen)})", seen.worst_gap <= allowed(seen)),
        (f"{served}/{seen.generations} served", not seen.failures),
        (f"{grown:+.0f} MB", grown <= MOST_MEMORY),
        (ledger.text, ledger.ok),
        (_ending(alive, by_itself, seconds), alive and by_itself),
    ]
    text = ", ".join(part if ok else f"**{part}**" for part, ok in parts)
    return Check(scene.name, PROMISED, text, all(ok for _, ok in parts))


def allowed(seen: Seen) -> float:
    """Return how long a gap may be, in milliseconds: longer where a server that does nothing was kept waiting too."""
    return MOST_GAP + max(0.0, seen.machine_gap - MACHINE_GAP)


def _machine(seen: Seen) -> str:
    return f"machine {seen.machine_gap:.0f}" if seen.control else "machine below 30"


def _ending(alive: bool, by_itself: bool, seconds: float) -> str:
    if not alive:
        return "had ended before"
    return f"ended in {seconds:.1f} s" if by_itself else f"still there after {seconds:.0f} s"


def _ledger(scene: Scene, dropped: int) -> Comparison:
    try:
        return compare(scene.ids, rows_of(scene.service.database), dropped)
    except Exception as error:
        return Comparison(f"ledger unreadable: {error}", ok=False)


async def _settled(scene: Scene) -> int:
    """Wait until nothing runs and every row is written; return how many the ledger lost."""
    deadline = asyncio.get_running_loop().time() + SETTLED
    while True:
        numbers = await scene.metrics()
        open_ends = numbers.get("mlops_ledger_waiting", 1) + numbers.get("mlops_generations_running", 1)
        if not open_ends or asyncio.get_running_loop().time() > deadline:
            return int(numbers.get("mlops_ledger_dropped_total", 0))
        await asyncio.sleep(0.2)
