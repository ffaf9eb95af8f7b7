"""The counters in Redis, and the calls of the scripts that change them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from redis.exceptions import ClusterError, NoScriptError, OutOfMemoryError, ReadOnlyError, ResponseError, TryAgainError

from mlops_backend.principal import Rate, person_in
from mlops_backend.redis_link import Asked, RedisLink
from mlops_backend.services.other.limits import script
from mlops_backend.services.other.limits.charge import Charge, room_of
from mlops_backend.services.other.limits.decision import Seen
from mlops_backend.services.other.limits.windows import SECOND, Windows, wall_clock

LIFE: Final = 60 * SECOND
_DAY: Final = 86_400 * SECOND
# Longer than any month, so that no counter of a window that lasts is ever lost.
_KEPT: Final = 40 * _DAY
_KEPT_AFTER: Final = {"day": 2 * _DAY, "month": 62 * _DAY}
# What is said of a server at a moment, and not of what was asked; within a script the word stands further back.
_TRY_AGAIN: Final = (NoScriptError, OutOfMemoryError, ReadOnlyError, ClusterError, TryAgainError)
_WORDS: Final = ("READONLY", "MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "OOM ", "BUSY ")


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


class RedisStore(RedisLink):
    """Each method is one atomic step; without a clock, the time is that of Redis."""

    def __init__(
        self, url: str, *, clock: Callable[[], int] | None = None, life: int = LIFE, prefix: str = "mlops"
    ) -> None:
        scripts = [script.RESERVE, script.LOOK, script.SETTLE, script.SEED, script.RENEW, script.TAKE]
        super().__init__(url, scripts, prefix=prefix)
        self._clock, self._life = clock, life

    def now(self) -> int:
        """About what time it is; Redis knows better."""
        return self._clock() if self._clock else wall_clock()

    async def reserve(self, charge: Charge, reservation: str, windows: Windows) -> Answer:
        """Take as much of a charge as there is, or nothing."""
        return await self._charged(script.RESERVE, charge, reservation, windows)

    async def look(self, charge: Charge, windows: Windows) -> Answer:
        """See the counters that a charge would count against; nothing is taken."""
        return await self._charged(script.LOOK, charge, "", windows)

    async def _charged(self, what: str, charge: Charge, reservation: str, windows: Windows) -> Answer:
        arguments: list[str | int] = [
            reservation,
            self._moment(),
            self._life,
            _ttl(charge),
            *_arguments(charge, windows),
        ]
        code, now, *rest = await self._run(what, self._keys(charge.principal_id, reservation), arguments)
        if code == script.UNSEEDED:
            return Answer(code, now, missing=[name for name, no in zip(Windows._fields, rest, strict=True) if no])
        return Answer(code, now, rest[0], Seen(now, *rest[1:])) if rest else Answer(code, now)

    async def seed(self, principal_id: str, name: str, start: int, tokens: int) -> None:
        """Begin the counter of a window, unless somebody has."""
        arguments: list[str | int] = [name, start, tokens, _kept(principal_id) // 1000, start - _KEPT_AFTER[name]]
        await self._run(script.SEED, self._keys(principal_id), arguments)

    async def settle(self, batch: Sequence[Settlement]) -> int:
        """End reservations, those that there are; the number that Redis would not end, whatever it is told."""
        asked: list[Asked] = []
        for one in batch:
            remembered = self._life // 1000 if one.given_up else 0
            arguments: list[str | int] = [one.id, one.tokens, one.cost, int(one.released), remembered]
            asked.append((self._keys(one.principal_id, one.id), arguments))
        replies = await self._run_all(script.SETTLE, asked)
        for reply in replies:
            if isinstance(reply, Exception) and _is_passing(reply):
                raise reply
        return sum(isinstance(reply, ResponseError) for reply in replies)

    async def renew(self, reservations: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Say of principals' reservations that their process lives."""
        asked: list[Asked] = []
        for principal_id, ids in reservations:
            asked.append((self._keys(principal_id), [self._moment(), self._life, *ids]))
        await self._run_all(script.RENEW, asked)

    async def take(self, principal_id: str, route: str, cost: int, room: int) -> tuple[int, int]:
        """Take `cost` from a route's rate if it fits: the time now and the arrival time found."""
        key = f"{self._prefix}:{{{principal_id}}}:route:{route}"
        now, found = await self._run(script.TAKE, [key], [self._moment(), cost, room])
        return now, found

    def _keys(self, principal_id: str, reservation: str = "") -> list[str]:
        of = f"{self._prefix}:{{{principal_id}}}:"
        return [of + "state", of + "open", of + "records", f"{of}gone:{reservation}"]

    def _moment(self) -> int | str:
        return self._clock() if self._clock else ""


def _is_passing(error: Exception) -> bool:
    return isinstance(error, _TRY_AGAIN) or any(word in str(error) for word in _WORDS)


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
    kept = _kept(charge.principal_id)
    return max(kept, _room(charge.limits.requests) + _DAY, _room(charge.limits.tokens) + _DAY) // 1000


def _kept(principal_id: str) -> int:
    """How long counters are kept that nobody asks for; those of a key's people begin again with what the ledger has."""
    return _KEPT if person_in(principal_id)[1] is None else _DAY


def _room(rate: Rate | None) -> int:
    return room_of(rate) if rate else -1


def _or_none(limit: int | None) -> int:
    return -1 if limit is None else limit
