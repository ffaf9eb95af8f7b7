"""Journals in Redis: the calls of the script, and the news of what was written."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as NoConnection

from mlops_backend.errors import NotFound, TooManyStreams
from mlops_backend.redis_clients import MOST_AT_ONCE
from mlops_backend.redis_link import RedisLink
from mlops_backend.services.other.journals import redis_script as script
from mlops_backend.services.other.journals.journal import JOURNAL_COST, Bounds, Head, Listed, Opening, Page
from mlops_backend.services.other.journals.redis_lanes import Lanes, Width

_PACKED: Final = msgspec.msgpack.Encoder().encode
_OPENING: Final = msgspec.msgpack.Decoder(Opening)
_HEAD: Final = msgspec.msgpack.Decoder(tuple[int, list[tuple[str, str]]])


class RedisStore(RedisLink):
    """Each method but `listen` is one atomic step.

    Args:
        url: the address of Redis.
        bounds: of what is kept there.
        is_up: whether Redis is asked at present; where it has gone away meanwhile, nobody is kept waiting for that.
        clock: gives the time in seconds, where it is not that of Redis.
    """

    def __init__(
        self, url: str, bounds: Bounds, is_up: Callable[[], bool], *, clock: Callable[[], float] | None = None
    ) -> None:
        super().__init__(url, [script.JOURNALS])
        self._is_up = is_up
        self._lanes = Lanes(self._take, self._width)
        self._base = f"{self._prefix}:{{journals}}:"
        self._bounds = [bounds.each, bounds.all, bounds.count, bounds.of_owner, repr(bounds.ttl)]
        self._clock = clock
        self._me = secrets.token_hex(8)

    async def begin(self, opening: Opening) -> Opening:
        """The opening of the journal that has the claim: this one, where it was begun.

        Raises:
            TooManyStreams: there are too many.
        """
        claim = "" if opening.claim is None else opening.claim.name
        size = JOURNAL_COST + len(opening.about)
        code, *told = await self._ask("begin", opening.id, _PACKED(opening), opening.owner, claim, size)
        if code == script.OWNER_FULL:
            raise TooManyStreams("Too many streams of this key run; try again soon.")
        if code == script.FULL:
            raise TooManyStreams("Too many streams run; try again soon.")
        return _OPENING.decode(told[0])

    async def write(self, journal: str, first: int, pieces: Sequence[bytes], head: Head | None) -> float:
        """Add those that are not there yet; for how many seconds nobody has read.

        Args:
            journal: its id.
            first: the number of the first one; 0 for whichever comes next.
            pieces: to add.
            head: where it is known now.
        """
        packed = b"" if head is None else _PACKED(head)
        (unread,) = _found(await self._ask("write", journal, first, packed, *pieces))
        return float(unread)

    async def end(self, journal: str, behind: int, outcome: str, *, keeps_claim: bool) -> None:
        """It ends before piece `behind`; where that is not so it is dropped."""
        await self._ask("end", journal, behind, outcome, "1" if keeps_claim else "")

    async def read(self, journal: str, after: int, *, waits: bool) -> Page:
        """The pieces that are there; where there is none this process is told when there is, if it waits."""
        told = _found(await self._ask("read", journal, after, self._me if waits else ""))
        packed, first, oldest, outcome, silent, pieces = told
        return Page(_head(packed), first, pieces, oldest, outcome.decode() or None, float(silent))

    async def opening(self, journal: str) -> Opening:
        """What is known of it."""
        return _OPENING.decode(_found(await self._ask("opening", journal))[0])

    async def listed(self, owner: str) -> list[Listed]:
        """Those of an owner, the oldest first."""
        _, found = await self._ask("listed", "", owner)
        return [Listed(_OPENING.decode(packed), pieces, outcome.decode() or None) for packed, pieces, outcome in found]

    async def forget(self, journal: str) -> None:
        """Drop it."""
        await self._ask("forget", journal)

    async def listen(self, heard: Callable[[str], None], listening: Callable[[bool], None]) -> None:
        """Hear in which journals there is something for those who wait here, until the connection ends.

        Raises:
            RedisError, OSError: it did, or could not be had.
        """
        await self._listen([f"{self._base}to:{self._me}"], lambda message: heard(message.decode()), listening)

    async def aclose(self) -> None:
        """Wait for what is under way, and close the connections."""
        await self._lanes.finish()
        await super().aclose()

    async def _ask(self, op: str, journal: str, *told: Any) -> Any:
        at = "" if self._clock is None else repr(self._clock())
        return await self._lanes.ask([op, at, *self._bounds, journal, *told])

    async def _take(self, asked: list[Sequence[Any]]) -> Sequence[Any]:
        if not self._is_up():
            raise NoConnection("Redis has gone away")
        if len(asked) == 1:
            return [await self._run(script.JOURNALS, [self._base], list(asked[0]))]
        return await self._run_all(script.JOURNALS, [([self._base], list(each)) for each in asked])

    def _width(self) -> Width:
        """A cluster takes one step at a time of each connection."""
        return Width(2, 64) if isinstance(self._client, Redis) else Width(MOST_AT_ONCE, 1)


def _found(reply: Sequence[Any]) -> Sequence[Any]:
    code, *told = reply
    if code == script.NOT_FOUND:
        raise NotFound("There is no such stream, or its time has passed.")
    return told


def _head(packed: bytes) -> Head | None:
    if not packed:
        return None
    status, headers = _HEAD.decode(packed)
    return Head(status, tuple(headers))
