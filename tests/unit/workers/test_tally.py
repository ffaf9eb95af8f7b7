"""The numbers of several workers as one."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from mlops_backend.services.other.whole import State, Whole
from mlops_backend.shared import Shared
from mlops_backend.telemetry.metrics import Metrics
from mlops_backend.telemetry.numbers import Told, together
from mlops_backend.workers.channel import Channel
from mlops_backend.workers.frames import ChannelError
from mlops_backend.workers.handlers import Handlers
from mlops_backend.workers.tally import Tally


def numbers(done: float, running: float, up: float) -> list[Told]:
    """What a worker tells."""
    return [("done", done, "grows"), ("running", running, "sum"), ("up", up, "least")]


def worker() -> Channel:
    """A worker that has been asked already."""
    return cast(Channel, object())


def test_each_number_is_put_together_as_it_means() -> None:
    """Counts are added, and what is 1 while all is well is 1 while all is well everywhere."""
    assert together([numbers(3, 1, 1), numbers(4, 2, 0)]) == {"done": 7, "running": 3, "up": 0}


async def test_what_grows_never_falls() -> None:
    """A worker that is gone has done what it has done; what it was doing is not done any more."""
    tally, first, second = Tally(), worker(), worker()
    tally.note(first, numbers(3, 5, 0))
    tally.note(second, numbers(4, 2, 1))
    tally.lose(first)
    assert await tally.numbers([]) == {"done": 7, "running": 2, "up": 1}
    tally.note(third := worker(), numbers(1, 1, 1))
    tally.lose(third)
    assert await tally.numbers([]) == {"done": 8, "running": 2, "up": 1}


class Leaving(Channel):
    """A worker that answers, and is lost while another one is waited for."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(Handlers())
        self._tally = tally

    def asked(self, name: str, payload: Any = None) -> asyncio.Future[Any]:
        """Answer at once, and leave."""
        answer = asyncio.get_running_loop().create_future()
        answer.set_result(numbers(4, 1, 1))
        self.lost.set()
        self._tally.lose(self)
        return answer


async def test_who_leaves_while_others_answer_is_counted_once() -> None:
    """With what was told of it before; nothing of it stays as if it still served."""
    tally = Tally()
    leaving = Leaving(tally)
    tally.note(leaving, numbers(3, 5, 1))
    assert await tally.numbers([leaving]) == {"done": 3}


class Silent:
    """A parent that does not answer."""

    async def ask(self, name: str, payload: Any = None) -> Any:
        """Fail."""
        raise ChannelError("gone")

    def tell(self, name: str, payload: Any = None) -> None:
        """Nobody hears it."""


async def test_without_an_answer_a_worker_tells_of_itself() -> None:
    """A parent that does not answer keeps neither the numbers nor the state from being told."""
    metrics = Metrics()
    metrics.counter("done", "Done.", lambda: 3)
    whole = Whole(metrics, lambda: State(stopping=False, degraded=True), Shared(0, Silent(), Handlers()))
    assert b"mlops_done_total 3.0" in (await whole.metrics())[0]
    assert await whole.state() == State(stopping=False, degraded=True)


async def test_many_numbers_keep_nobody_waiting() -> None:
    """Their text is written beside the event loop."""
    metrics, turns = Metrics(), 0
    metrics.labelled("keys", "Keys.", ("key",), lambda: {(str(number),): 1 for number in range(5000)})
    whole = Whole(metrics, lambda: State(stopping=False, degraded=False), None)
    writing = asyncio.create_task(whole.metrics())
    while not writing.done():
        turns += 1
        await asyncio.sleep(0.001)
    assert turns > 1
    assert writing.result()[0].count(b"mlops_keys{") == 5000
