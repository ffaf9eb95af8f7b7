"""One process of test_limits_two_processes.py: many workers reserve, settle, release and leave, with one key.

Called with the address of Redis, the name of this process, the wall clock's seconds at which the test's clock began,
and the number of requests. What every script did is appended to a list in Redis, in the order in which Redis did it;
what the workers saw is the last line of standard output.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from mlops_backend import redis_clients
from mlops_backend.errors import LimitExceeded, LimitsUnavailable
from mlops_backend.principal import Limits, Principal
from mlops_backend.services.other.limits import redis_limiter, script, upkeep
from mlops_backend.services.other.limits.limiter import Reservation
from mlops_backend.services.other.limits.redis_limiter import RedisLimiter
from tests.fakes.limits_model import SECOND

WORKERS = 32
# A minute of the test's clock is a second of ours; it begins shortly before a month ends.
FASTER = 60
START = int(datetime(2026, 1, 31, 23, 57, tzinfo=UTC).timestamp()) * SECOND
LIFE = 3600 * SECOND
BEFORE = {"2026-01-31": 700, "2026-01-01": 430_000, "2026-02-01": 300}
LIMITS = Limits().replaced(
    {
        "requests": "550/minute burst 60",
        "tokens": "38000/minute burst 3500",
        "tokens_per_day": 110_000,
        "tokens_per_month": 500_000,
        "concurrent": 56,
    }
)
LOG = "log"
NAME: ContextVar[str] = ContextVar("name")


def logged(kind: str, text: str) -> str:
    """A script that also notes what it was told and what it answered."""
    return f"""
local function run() {text} end
local reply, told = run(), {{}}
for i, number in ipairs(reply) do told[i] = string.format('%.0f', number) end
redis.call('RPUSH', '{LOG}', cjson.encode({{'{kind}', ARGV, told}}))
return reply
"""


class Ledger:
    """What was used before the test."""

    async def used(self, principal_id: str, since: datetime) -> int:
        """Tokens since then."""
        await asyncio.sleep(0)
        return BEFORE[f"{since:%Y-%m-%d}"]


class Worker:
    """Requests of one process."""

    def __init__(self, limiter: RedisLimiter, process: str, count: int) -> None:
        self.limiter, self.process, self.left = limiter, process, count
        self.made = 0
        self.random = random.Random(process)
        self.seen: list[dict[str, Any]] = []

    async def work(self) -> None:
        """Ask until all requests are made; those that Redis missed are made again."""
        while self.left > 0:
            self.left -= 1
            self.made += 1
            name = f"{self.process}-{self.made}"
            NAME.set(name)
            asking = asyncio.create_task(self._ask(name))
            if self.random.random() < 0.05:
                for _ in range(self.random.randrange(40)):
                    await asyncio.sleep(0)
                asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _ask(self, name: str) -> None:
        ran = self.random
        try:
            reservation = await self.limiter.reserve(PRINCIPAL, ran.randint(1, 50), ran.randint(1, 50))
        except LimitExceeded as refusal:
            left = [member.split(";")[:2] for member in refusal.headers["RateLimit"].split(", ")]
            named = refusal.message.split("'")[1]
            self.seen.append({"name": name, "named": named, "left": {key[1:-1]: int(r[2:]) for key, r in left}})
        except LimitsUnavailable:
            self.left += 1
            await asyncio.sleep(0.02)
        else:
            left_over = {standing.name: standing.remaining for standing in reservation.standings}
            self.seen.append({"name": name, "named": "", "left": left_over})
            await self._generate(name, reservation)

    async def _generate(self, name: str, reservation: Reservation) -> None:
        tokens, ending = self.random.randint(0, 140), "release" if self.random.random() < 0.1 else "settle"
        try:
            await asyncio.sleep(self.random.random() * 0.02)
        finally:
            self.seen.append({"name": name, "ended": ending, "tokens": tokens})
            if ending == "release":
                reservation.release()
            else:
                reservation.settle(tokens)


PRINCIPAL = Principal("shared", "shared", limits=LIMITS)


async def main(url: str, process: str, began: float, count: int) -> None:
    """Run all workers of this process, and tell what they saw."""
    for kind in ("RESERVE", "SETTLE", "SEED", "RENEW"):
        setattr(script, kind, logged(kind, getattr(script, kind)))
    setattr(redis_limiter, "secrets", SimpleNamespace(token_hex=lambda _: NAME.get()))  # noqa: B010
    setattr(upkeep, "_PAUSE", 0.1)  # noqa: B010
    setattr(redis_clients, "_READ", 10.0)  # noqa: B010
    limiter = RedisLimiter(
        url,
        Ledger(),
        default_reserve=10,
        clock=lambda: START + int((time.time() - began) * FASTER * SECOND),
        life=LIFE,
    )
    await limiter.open()
    worker = Worker(limiter, process, count)
    await asyncio.gather(*(worker.work() for _ in range(WORKERS)))
    await limiter.aclose()
    json.dump({"seen": worker.seen, "pending": limiter.pending_settlements}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])))
