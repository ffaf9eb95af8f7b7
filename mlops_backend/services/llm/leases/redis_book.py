"""The book of leases in Redis: the calls of its script, and the news of what was given."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from redis.exceptions import RedisError

from mlops_backend.redis_link import RedisLink
from mlops_backend.services.llm.leases import redis_script as script
from mlops_backend.services.llm.leases.lessor import Asking, Bounds

# So many seconds after its last sign of life a process is taken for dead. It gives one every `BEAT`.
LIFE: Final = 7.0
BEAT: Final = 1.5
# Where nobody gave one for so long, Redis was away from all; then it takes so long until all have told what they have.
_SILENT: Final = 2 * BEAT
SETTLE: Final = 2.0
# A bound that was taken away.
LIFTED: Final = -1

_DONE: Final = msgspec.msgpack.Decoder(tuple[int])
_BEATEN: Final = msgspec.msgpack.Decoder(tuple[int, int, list[tuple[str, str]], list[str]])
_TAKEN: Final = msgspec.msgpack.Decoder(tuple[Any, ...])


class Forgotten(RedisError):
    """Redis does not know this process any more, or not yet."""


class Answer(NamedTuple):
    """What the script said to who wants a lease: the backend that gave one, or how many wait, of the key or all."""

    code: int
    name: str = ""
    waiting: int = 0


class Waiting(NamedTuple):
    """One who waits, as the queue is shown."""

    key: str
    batch: bool
    start: float
    number: int
    waited: float
    names: list[str]


class Page(NamedTuple):
    """Leases and bounds by the names of their backends, and who waits."""

    taken: Mapping[str, int]
    most: Mapping[str, int]
    waiting: Sequence[Waiting]


class LeaseBook(RedisLink):
    """Each method but `listen` is one atomic step.

    What a process has there is kept under its name and the number of times that it has joined: what was sent before it
    joined again comes too late, and does nothing.

    Args:
        url: the address of Redis.
        bounds: of the queue.
        clock: gives the time in seconds, where it is not that of Redis.
    """

    def __init__(self, url: str, bounds: Bounds, *, clock: Callable[[], float] | None = None) -> None:
        super().__init__(url, [script.LEASES])
        self._base = f"{self._prefix}:{{leases}}:"
        self._bounds, self._clock = bounds, clock
        self._owner = secrets.token_hex(8)
        self.epoch = 0

    async def join(self, held: Iterable[tuple[str, str]], bounds: Mapping[str, int]) -> None:
        """From now on these leases are all that this process has, by their ids; it waits for none."""
        self.epoch += 1
        held, listed = list(held), list(bounds.items())
        await self._do("join", held=held, bounds=listed, silent=_SILENT, settle=SETTLE)

    async def hold(self, held: Iterable[tuple[str, str]]) -> None:
        """It has these too."""
        await self._do("hold", held=list(held))

    async def take(self, lease: str, bounds: Mapping[str, int | None]) -> Answer:
        """A lease of the first of these backends that has room; each with its bound."""
        return await self._take(lease, bounds)

    async def wait(
        self, lease: str, bounds: Mapping[str, int | None], asking: Asking, cost: float, *, again: bool
    ) -> Answer:
        """The same, or a place in the queue; one that had a place before is not refused."""
        most = (1 << 53, 1 << 53) if again else (self._bounds.waiting, self._bounds.of_key)
        ticket = {"key": asking.key, "batch": asking.batch, "cost": cost, "weight": asking.weight}
        ticket["waited"] = asking.waited
        return await self._take(lease, bounds, ticket=ticket, waiting=most[0], of_key=most[1])

    async def back(self, ids: Sequence[str]) -> None:
        """Give leases back, or places."""
        await self._do("back", ids=ids)

    async def use(self, names: Iterable[str], bounds: Mapping[str, int], waiting: Sequence[str]) -> None:
        """These are all backends of this process; those of it who wait do so for these alone."""
        await self._do("use", names=list(names), bounds=list(bounds.items()), ids=waiting)

    async def beat(self, waiting: Sequence[str]) -> tuple[int, list[tuple[str, str]], list[str]]:
        """Say that this process lives: how many wait in all, what was given to whom of these, and who has no place."""
        _, count, granted, lost = _BEATEN.decode(await self._ask("beat", ids=waiting))
        return count, granted, lost

    async def leave(self) -> None:
        """Give everything back."""
        await self._do("leave")

    async def page(self) -> Page:
        """The whole book."""
        _, taken, most, shown = _TAKEN.decode(await self._ask("view"))
        return Page(_numbers(taken), _numbers(most), [Waiting(*each) for each in shown])

    async def listen(self, heard: Callable[[str, str], None], listening: Callable[[bool], None]) -> None:
        """Hear what is given to those who wait, until the connection ends.

        Raises:
            RedisError, OSError: it did, or could not be had.
        """

        def said(message: bytes) -> None:
            lease, _, name = message.decode().partition(" ")
            heard(lease, name)

        await self._listen([f"{self._base}news:{self._owner}"], said, listening)

    async def _take(self, lease: str, bounds: Mapping[str, int | None], **told: Any) -> Answer:
        listed = [(name, LIFTED if most is None else most) for name, most in bounds.items()]
        return Answer(*_TAKEN.decode(await self._ask("take", id=lease, bounds=listed, **told)))

    async def _do(self, op: str, **told: Any) -> None:
        _DONE.decode(await self._ask(op, **told))

    async def _ask(self, op: str, **told: Any) -> bytes:
        """What the script answers.

        Raises:
            Forgotten: it does not know whose this is.
        """
        content = msgspec.msgpack.encode({"owner": self._owner, "epoch": self.epoch, **told})
        at = "" if self._clock is None else repr(self._clock())
        reply = await self._run(script.LEASES, [self._base], [op, content, at, LIFE, self._bounds.aged_after])
        if reply == _UNKNOWN:
            raise Forgotten("Redis does not know of this process's leases")
        return bytes(reply)


_UNKNOWN: Final = msgspec.msgpack.encode([script.UNKNOWN])


def _numbers(pairs: Sequence[str]) -> dict[str, int]:
    return {name: int(number) for name, number in zip(pairs[::2], pairs[1::2], strict=True)}
