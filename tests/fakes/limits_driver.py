"""`python -m tests.fakes.limits_driver DESCRIPTOR`: a worker that asks its parent for room as fast as it can.

The parent has it play so many requests, and hears what each of them was told.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from random import Random
from typing import Any

from mlops_backend.errors import LimitExceeded
from mlops_backend.principal import Limits, Principal
from mlops_backend.services.other.limits.limiter import NoSeed
from mlops_backend.services.other.limits.parent_limiter import ParentLimiter
from mlops_backend.shared import Shared
from mlops_backend.workers.channel import Channel
from mlops_backend.workers.handlers import Handlers

AT_ONCE = 40
KEYS: dict[str, dict[str, Any]] = {
    "rates": {"requests": "600/minute burst 90", "tokens": "90000/minute burst 9000"},
    "budgets": {"tokens_per_day": 400_000, "tokens_per_month": 700_000},
    "few": {"concurrent": 7, "requests": "9000/minute"},
    "all": {
        "requests": "900/minute burst 50",
        "tokens": "60000/minute burst 5000",
        "tokens_per_day": 300_000,
        "concurrent": 11,
    },
}


class Driver:
    """One worker."""

    def __init__(self) -> None:
        hears = Handlers()
        self.channel = Channel(hears)
        self.limiter = ParentLimiter(Shared(0, self.channel, hears), NoSeed(), default_reserve=100)
        self.told: list[tuple[int, str, int | None, dict[str, int]]] = []
        hears.on("ledger.write", lambda parent, what: None)
        hears.on("play", lambda _, asked: self._play(*asked))
        hears.on("hold", lambda _, number: self._hold(number))

    async def _play(self, seed: int, number: int) -> None:
        """Play so many requests, and tell what each was told."""
        chance = Random(seed)
        await asyncio.gather(*(self._some(chance, number // AT_ONCE) for _ in range(AT_ONCE)))
        self.channel.tell("played", self.told)

    async def _some(self, chance: Random, number: int) -> None:
        for _ in range(number):
            asking = asyncio.create_task(self._one(chance))
            if chance.random() < 0.03:  # a client that leaves
                for _ in range(chance.randrange(6)):
                    await asyncio.sleep(0)
                asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _one(self, chance: Random) -> None:
        name = chance.choice(list(KEYS))
        principal = Principal(name, name, limits=Limits().replaced(KEYS[name]))
        prompt, output = chance.randrange(1, 200), chance.choice([None, 50, 400])
        number = self.limiter._number + 1
        try:
            reservation = await self.limiter.reserve(principal, prompt, output)
        except LimitExceeded as refusal:
            left = [member.split(";")[:2] for member in refusal.headers["RateLimit"].split(", ")]
            remaining = {limit.strip('"'): int(rest.removeprefix("r=")) for limit, rest in left}
            self.told.append((number, refusal.message, None, remaining))
            return
        remaining = {standing.name: standing.remaining for standing in reservation.standings}
        self.told.append((number, "", reservation.output, remaining))
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        if chance.random() < 0.1:
            reservation.release()
        else:
            reservation.settle(chance.randrange(0, 500))

    async def _hold(self, number: int) -> None:
        """Take room so many times, and keep it."""
        principal = Principal("held", "held", limits=Limits().replaced({"concurrent": number, "tokens": "6000/minute"}))
        for _ in range(number):
            await self.limiter.reserve(principal, 5, 5)


async def main(descriptor: int) -> None:
    """Play until the parent has had enough."""
    driver = Driver()
    await driver.channel.connect(socket.socket(fileno=descriptor))
    await driver.channel.lost.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
