"""The counters in Redis, and the calls of the scripts that change them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from mlops_backend.principal import Rate
from mlops_backend.services.other.limits import script
from mlops_backend.services.other.limits.charge import Charge, room_of
from mlops_backend.services.other.limits.decision import Seen
from mlops_backend.services.other.limits.windows import SECOND, Windows, wall_clock

REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)
MOST_AT_ONCE: Final = 32
LIFE: Final = 60 * SECOND
_CONNECT: Final = 0.5
_READ: Final = 1.0
_CHECK_IDLE_AFTER: Final = 30
_DAY: Final = 86_400 * SECOND
# Longer than any month, so that no counter of a window that lasts is ever lost.
_KEPT: Final = 40 * _DAY
_KEPT_AFTER: Final = {"day": 2 * _DAY, "month": 62 * _DAY}
_TRY_AGAIN: Final = (NoScriptError, OutOfMemoryError, ReadOnlyError)


class Answer(NamedTuple):
    """What the script said to a reservation, and what that took; `missing` names the windows without a counter."""

    code: int
    now: int
    tokens: int = 0
    seen: Seen | None = None
    missing: Sequence[str] = ()


class Settlement(NamedTuple):
    """The end of a reservation; `given_up` says that it may not have been made yet."""

    principal_id: str
    id: str
    tokens: int = 0
    cost: int = 0
    released: bool = False
    given_up: bool = False


class RedisStore:
    """Each method is one atomic step; without a clock, the time is that of Redis."""

    def __init__(
        self, url: str, *, clock: Callable[[], int] | None = None, life: int = LIFE, prefix: str = "mlops"
    ) -> None:
        self._client = Redis.from_pool(_pool(url))
        self._clock, self._life, self._prefix = clock, life, prefix
        self._reserve = self._client.register_script(script.RESERVE)
        self._settle = self._client.register_script(script.SETTLE)
        self._seed = self._client.register_script(script.SEED)
        self._renew = self._client.register_script(script.RENEW)
        self._take = self._client.register_script(script.TAKE)

    def now(self) -> int:
        """About what time it is; Redis knows better."""
        return self._clock() if self._clock else wall_clock()

    async def reserve(self, charge: Charge, reservation: str, windows: Windows) -> Answer:
        """Take as much of a charge as there is, or nothing."""
        arguments: list[str | int] = [
            reservation,
            self._moment(),
            self._life,
            _ttl(charge),
            *_arguments(charge, windows),
        ]
        code, now, *rest = await self._reserve(keys=self._keys(charge.principal_id, reservation), args=arguments)
        if code == script.UNSEEDED:
            return Answer(code, now, missing=[name for name, no in zip(Windows._fields, rest, strict=True) if no])
        return Answer(code, now, rest[0], Seen(now, *rest[1:])) if rest else Answer(code, now)

    async def seed(self, principal_id: str, name: str, start: int, tokens: int) -> None:
        """Begin the counter of a window, unless somebody has."""
        arguments: list[str | int] = [name, start, tokens, _KEPT // 1000, start - _KEPT_AFTER[name]]
        await self._seed(keys=self._keys(principal_id), args=arguments)

    async def settle(self, batch: Sequence[Settlement]) -> int:
        """End reservations, those that there are; the number that Redis would not end, whatever it is told."""
        async with self._client.pipeline(transaction=False) as pipe:
            for one in batch:
                remembered = self._life // 1000 if one.given_up else 0
                arguments: list[str | int] = [one.id, one.tokens, one.cost, int(one.released), remembered]
                await self._settle(keys=self._keys(one.principal_id, one.id), args=arguments, client=pipe)
            replies = await pipe.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, _TRY_AGAIN):
                raise reply
        return sum(isinstance(reply, ResponseError) for reply in replies)

    async def renew(self, reservations: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Say of principals' reservations that their process lives."""
        async with self._client.pipeline(transaction=False) as pipe:
            for principal_id, ids in reservations:
                arguments: list[str | int] = [self._moment(), self._life, *ids]
                await self._renew(keys=self._keys(principal_id), args=arguments, client=pipe)
            await pipe.execute(raise_on_error=False)

    async def take(self, principal_id: str, route: str, cost: int, room: int) -> tuple[int, int]:
        """Take `cost` from a route's rate if it fits: the time now and the arrival time found."""
        now, found = await self._take(
            keys=[f"{self._prefix}:{{{principal_id}}}:route:{route}"], args=[self._moment(), cost, room]
        )
        return now, found

    async def probe(self) -> None:
        """Fail unless Redis can be written to."""
        await self._client.set(f"{self._prefix}:probe", 1, ex=60)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _keys(self, principal_id: str, reservation: str = "") -> list[str]:
        of = f"{self._prefix}:{{{principal_id}}}:"
        return [of + "state", of + "open", of + "records", f"{of}gone:{reservation}"]

    def _moment(self) -> int | str:
        return self._clock() if self._clock else ""


def _pool(url: str) -> ConnectionPool:
    return ConnectionPool.from_url(
        url,
        # two more for what runs beside the requests
        max_connections=MOST_AT_ONCE + 2,
        socket_connect_timeout=_CONNECT,
        socket_timeout=_READ,
        health_check_interval=_CHECK_IDLE_AFTER,
        # the name of a connection is an ornament, which a user of Redis may be forbidden to set
        driver_info=None,
        protocol=2,
        # a script that is run again would take twice
        retry=Retry(NoBackoff(), 0),
    )


def _arguments(charge: Charge, windows: Windows) -> list[str | int]:
    limits = charge.limits
    return [
        charge.request_cost,
        _room(limits.requests),
        charge.tokens,
        charge.held,
        _room(limits.tokens),
        _or_none(limits.concurrent),
        _or_none(limits.tokens_per_day),
        *windows.day,
        _or_none(limits.tokens_per_month),
        *windows.month,
        charge.least,
        charge.part,
        charge.part_held,
        charge.unit,
        f"{limits.tokens.count}/{limits.tokens.period}/{limits.tokens.burst}" if limits.tokens else "",
    ]


def _ttl(charge: Charge) -> int:
    return max(_KEPT, _room(charge.limits.requests) + _DAY, _room(charge.limits.tokens) + _DAY) // 1000


def _room(rate: Rate | None) -> int:
    return room_of(rate) if rate else -1


def _or_none(limit: int | None) -> int:
    return -1 if limit is None else limit
