"""Who asks, what they may, and how much: plain values that every layer may hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final

_RATE: Final = re.compile(r"(\d{1,15})\s*/\s*(second|minute|hour|day)(?:\s+burst\s+(\d{1,15}))?")
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_MICROSECONDS: Final = 1_000_000
# Between a key's id and the name of an end user: neither can have it, since both are printable.
_OF: Final = "\t"


class Scope(StrEnum):
    """What a key may be good for; `admin` includes all the others."""

    INFERENCE = "inference"
    MODELS_READ = "models:read"
    MODELS_WRITE = "models:write"
    USAGE_READ = "usage:read"
    METRICS_READ = "metrics:read"
    ADMIN = "admin"


class Priority(StrEnum):
    """Of which class a key's generations are in the queue; `batch` gives way to the others."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


# Between these is a key's weight in the queue.
LIGHTEST: Final = 0.1
HEAVIEST: Final = 100.0

ORDINARY: Final = frozenset({Scope.INFERENCE, Scope.MODELS_READ, Scope.USAGE_READ})


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in a period, of which `burst` may come at once.

    `period` is in seconds.
    """

    count: int
    period: int
    burst: int

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Read `60/minute` or `60/minute burst 10`; without a burst it is the whole count.

        Raises:
            ValueError: written in another way, or zero.
        """
        match = _RATE.fullmatch(text.strip())
        count, burst = (int(match[1]), int(match[3] or match[1])) if match else (0, 0)
        if match is None or not count or not burst:
            raise ValueError("a rate is written 60/minute or 60/minute burst 10 (second, minute, hour, day)")
        return cls(count, _SECONDS[match[2]], burst)

    def __str__(self) -> str:
        unit = next(name for name, seconds in _SECONDS.items() if seconds == self.period)
        return f"{self.count}/{unit}" + (f" burst {self.burst}" if self.burst != self.count else "")

    def cost(self, units: int) -> int:
        """Microseconds that `units` take up, rounded up, so that rounding never lets one more through."""
        return -(-units * self.period * _MICROSECONDS // self.count)

    @property
    def room(self) -> int:
        """Microseconds of use that may be taken ahead: what the burst costs."""
        return self.cost(self.burst)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one key may use; `None` is no limit.

    `requests` counts generations; `tokens` and the two budgets count prompt and completion together, the budgets in
    calendar days and months of the operator.
    """

    requests: Rate | None = None
    tokens: Rate | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    concurrent: int | None = None

    @property
    def counts_tokens(self) -> bool:
        """Whether any of them needs to know how many tokens there are."""
        return not (self.tokens is None and self.tokens_per_day is None and self.tokens_per_month is None)

    def __bool__(self) -> bool:
        return self.counts_tokens or self.requests is not None or self.concurrent is not None

    def replaced(self, own: Mapping[str, Any]) -> Limits:
        """These limits with a key's own in place of those it names; a rate as text, `None` for no limit.

        Raises:
            ValueError: a limit that does not exist, or cannot be read.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in own.items():
            if name not in values:
                raise ValueError(f"there is no limit {name!r}")
            values[name] = Rate.parse(value) if isinstance(value, str) else value
        return Limits(**values)

    def written(self) -> dict[str, str | int | None]:
        """Each limit as `replaced` reads it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: str(value) if isinstance(value, Rate) else value for name, value in values.items()}


NO_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost, in whatever currency the operator thinks in."""

    prompt: Decimal
    completion: Decimal

    def of(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Billionths of the currency's unit, rounded to the nearest."""
        return round((self.prompt * prompt_tokens + self.completion * completion_tokens) * 1000)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking.

    `id` is what limits and the ledger count by: a key's public id, `settings:<name>` for one of `API_KEYS`, `admin`,
    or `anonymous`. `models` are patterns as the shell's, in canonical spelling; empty: every model.
    `weight` is how much of a share it has in the queue before the backends, where `priority` is its class.
    `end_user_limits` are those of each of the people for whom its client asks, beside its own.
    `cache` says that answers which are the same each time are kept for it.
    """

    name: str
    id: str
    scopes: frozenset[Scope] = ORDINARY
    models: Sequence[str] = ()
    limits: Limits = NO_LIMITS
    priority: Priority = Priority.INTERACTIVE
    weight: float = 1.0
    end_user_limits: Limits = NO_LIMITS
    cache: bool = False

    @property
    def is_limited(self) -> bool:
        """Whether a generation of it is counted against anything."""
        return bool(self.limits) or bool(self.end_user_limits)

    @property
    def counts_tokens(self) -> bool:
        """Whether any limit needs to know how many tokens there are."""
        return self.limits.counts_tokens or self.end_user_limits.counts_tokens

    @property
    def counts_requests(self) -> bool:
        """Whether there is a rate of requests."""
        return not (self.limits.requests is None and self.end_user_limits.requests is None)

    def limited(self, change: Callable[[Limits], Limits]) -> Principal:
        """The same with other limits, of its own and of its people."""
        return replace(self, limits=change(self.limits), end_user_limits=change(self.end_user_limits))

    def for_end_user(self, name: str) -> Principal:
        """One of its people, to be counted alone; those that have no name are one."""
        return replace(self, id=f"{self.id}{_OF}{name}", limits=self.end_user_limits)

    @property
    def admin(self) -> bool:
        """Whether it may do everything."""
        return Scope.ADMIN in self.scopes

    def has(self, scope: Scope) -> bool:
        """Whether its key is good for that."""
        return scope in self.scopes or self.admin

    def may_use(self, model: str) -> bool:
        """Whether the model of that canonical name stands on its list."""
        return not self.models or any(fnmatchcase(model, pattern) for pattern in self.models)


def person_in(principal_id: str) -> tuple[str, str | None]:
    """The key in an id that is counted by, and which of its people; `None` where it is the key itself."""
    key_id, separator, name = principal_id.partition(_OF)
    return key_id, name if separator else None


ANONYMOUS: Final = Principal("anonymous", "anonymous")
