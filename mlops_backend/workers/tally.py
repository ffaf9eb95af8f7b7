"""What the parent answers for all workers: their numbers and their state."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

from mlops_backend.telemetry.numbers import Told, together
from mlops_backend.workers.channel import Channel
from mlops_backend.workers.frames import ChannelError

# One that takes longer is told as it was, or left out: who asks does not wait for it.
_WITHIN: Final = 1.0


class Tally:
    """The numbers of all workers; what grows never falls, though workers come and go."""

    def __init__(self) -> None:
        self._last: dict[Channel, Sequence[Told]] = {}
        self._gone: Sequence[Told] = ()

    def note(self, worker: Channel, numbers: Sequence[Told]) -> None:
        """A worker's numbers as they are now."""
        self._last[worker] = numbers

    def lose(self, worker: Channel) -> None:
        """A worker is gone; what it had counted, as far as it was told, is part of the whole."""
        last = self._last.pop(worker, ())
        of_gone = together([self._gone, [number for number in last if number[2] == "grows"]])
        self._gone = [(name, value, "grows") for name, value in of_gone.items()]

    async def numbers(self, workers: Iterable[Channel]) -> dict[str, float]:
        """Of all that serve, and of those that are gone."""
        for worker, numbers in (await answers(workers, "numbers")).items():
            if not worker.lost.is_set():  # it may be, while others are waited for: then it is counted already
                self.note(worker, numbers)
        return together([*self._last.values(), self._gone])


async def answers(workers: Iterable[Channel], name: str) -> dict[Channel, Any]:
    """What each worker answers, of those that do soon."""
    asked: dict[Channel, asyncio.Future[Any]] = {}
    for worker in workers:
        try:
            asked[worker] = worker.asked(name)
        except ChannelError:
            continue
    if asked:
        _, late = await asyncio.wait(asked.values(), timeout=_WITHIN)
        for answer in late:
            answer.cancel()
    return {
        worker: answer.result()
        for worker, answer in asked.items()
        if not answer.cancelled() and answer.exception() is None
    }
