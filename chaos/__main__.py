"""`python -m chaos`: clients of all dialects before four backends, while one thing after the other fails.

It ends by itself, prints one table, and fails where a rule was broken. A seed repeats the schedule.
"""

import argparse
import asyncio
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence

import httpx

from bench.machine import raise_open_files
from chaos.books import contradictions, rows
from chaos.clients import REAL_KINDS, Asked, Ending, ask
from chaos.faults import FAULTS, go_wrong
from chaos.real import NONE, Real
from chaos.stage import MOST, Stage, staged
from tests.databases import sqlite_template
from tests.e2e.real_ollama import MODEL
from tests.e2e.server_process import KEY

SHOWN = 8
NO_REAL = "no real backend: it was not wanted"
REQUEST_ID = re.compile(r',?"request_id":"[^"]*"')
# Of what was accepted and had no byte yet, so much has to succeed while backends are only killed.
SUCCEEDING = 0.999


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--postgresql", action="store_true", help="the ledger is there, and not in SQLite")
    parser.add_argument("--redis", action="store_true", help="the limits' counters are there")
    parser.add_argument("--no-real", action="store_true", help="fake backends alone")
    parser.add_argument("--faults", nargs="*", choices=FAULTS, default=list(FAULTS), metavar="NAME")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two faults, on average")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


async def drive(stage: Stage, options: argparse.Namespace, dice: random.Random) -> list[Asked]:
    """All requests, so many at a time."""
    asked: list[Asked] = []
    numbers = iter(range(options.requests))
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=options.clients)
    async with httpx.AsyncClient(
        base_url=stage.service.url,
        headers={"X-API-Key": KEY},
        limits=limits,
        timeout=None,
        trust_env=False,
        verify=False,
    ) as client:

        async def one() -> None:
            own = random.Random(dice.random())
            for number in numbers:
                asked.append(await one_of_them(client, stage.real, number, own))
                if asked[-1].ending is Ending.UNREACHED:
                    await asyncio.sleep(0.05)

        await asyncio.gather(*(one() for _ in range(options.clients)))
    return asked


async def one_of_them(client: httpx.AsyncClient, real: Real | None, number: int, dice: random.Random) -> Asked:
    """One request; one in a hundred is for the real backend, if there is one."""
    if real is None or not real.is_asked(number):
        return await ask(client, f"r{number}", dice)
    real.asking += 1
    try:
        return await ask(client, f"r{number}", dice, real=True)
    finally:
        real.asking -= 1


async def left(stage: Stage) -> dict[str, int]:
    """What there still is when all have ended; given a moment."""
    found: dict[str, int] = {}
    async with stage.service.client() as client:
        for _ in range(100):
            seen = (await client.get("/api/llm/queue")).json()
            running = (await client.get("/api/llm/generations")).json()["count"]
            found = {
                "leases": seen["running"],
                "waiting": seen["waiting"],
                "generations": running,
                "at backends": sum(backend.active for backend in stage.backends),
                "at the real one": 0 if stage.real is None else await stage.real.running(),
            }
            if not any(found.values()):
                break
            await asyncio.sleep(0.1)
    return found


async def run(options: argparse.Namespace) -> bool:
    """Run it, print the table, and tell whether every rule held."""
    dice, done = random.Random(options.seed), Counter[str]()
    chosen = {"postgres": options.postgresql, "redis": options.redis, "real": not options.no_real}
    async with staged(workers=options.workers, **chosen) as stage:
        began = time.monotonic()
        wrong = (
            asyncio.create_task(go_wrong(stage, options.faults, options.every, dice, done)) if options.faults else None
        )
        asked = await drive(stage, options, random.Random(options.seed + 1))
        if wrong is not None:
            wrong.cancel()
            await asyncio.gather(wrong, return_exceptions=True)
        took = time.monotonic() - began
        remains = await left(stage)
        stage.service.signal(signal.SIGTERM)
        status = await stage.service.ended()
        of_real = 0 if stage.real is None else await stage.real.ended()
        ledger = await rows(stage)
        broken = contradictions(asked, ledger, stage)
    broken["nothing is left"] = [f"{name}: {count}" for name, count in remains.items() if count]
    broken["it ends well when it is told to"] = [f"exit status {each}" for each in (status, of_real) if each]
    most = [f"{backend.port}: {backend.max_active}" for backend in stage.backends if backend.max_active > MOST]
    broken["no backend had more than it takes"] = [] if stage.killed_workers else most
    show(options, asked, done, took, broken, is_real=stage.real is not None)
    return not any(broken.values())


def told_of_real(asked: Sequence[Asked]) -> str:
    """What became of those that were for the real backend."""
    endings = Counter(each.ending.value for each in asked if each.kind in REAL_KINDS)
    told = ", ".join(f"{name} {count}" for name, count in endings.most_common())
    return f"of a real {MODEL}: {told or 'none'}"


def show(
    options: argparse.Namespace,
    asked: Sequence[Asked],
    done: Counter[str],
    took: float,
    broken: dict[str, list[str]],
    *,
    is_real: bool,
) -> None:
    """Print the table."""
    endings = Counter(each.ending.value for each in asked)
    accepted = [each for each in asked if each.ending not in (Ending.GONE, Ending.UNREACHED)]
    unanswered = [each for each in accepted if each.ending is not Ending.WHOLE and not each.had_byte]
    share = 1 - len(unanswered) / max(1, len(accepted))
    print(f"\nseed {options.seed}, {len(asked)} requests in {took:.0f} s, faults {dict(done)}")
    print("ended as: " + ", ".join(f"{name} {count}" for name, count in endings.most_common()))
    print(f"of {len(accepted)} accepted that did not leave, {share:.4%} had a byte of an answer or all of it")
    print(told_of_real(asked) if is_real else NO_REAL if options.no_real else NONE)
    reasons = Counter(REQUEST_ID.sub("", each.said)[:160] for each in unanswered)
    for said, count in reasons.most_common(SHOWN):
        print(f"    {count:5} {said!r}")
    for rule, who in broken.items():
        print(f"{'ok  ' if not who else 'NO  '} {rule}" + (f": {len(who)}, as {who[:SHOWN]}" if who else ""))
    sys.stdout.flush()


def main() -> int:
    """Run from the command line."""
    options = parsed(sys.argv[1:])
    raise_open_files()
    sqlite_template()  # made before: it has a loop of its own
    return 0 if asyncio.run(run(options)) else 1


if __name__ == "__main__":
    sys.exit(main())
