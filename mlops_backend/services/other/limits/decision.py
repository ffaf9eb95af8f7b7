"""How a key stands with its limits, what a refusal says, and the fields of an answer that tell both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, NamedTuple

from mlops_backend.errors import LimitExceeded
from mlops_backend.principal import Limits, Rate
from mlops_backend.services.other.limits.charge import Charge, half, room_of
from mlops_backend.services.other.limits.windows import SECOND, Window, Windows

# Nobody knows when a generation will end; this soon is worth another try.
_TURN: Final = SECOND


class Seen(NamedTuple):
    """A key's counters at one moment, as the store keeps them.

    `requests` and `tokens` are theoretical arrival times, `held` is what open generations hold of the latter; `day` and
    `month` are tokens, of which open generations have set aside `day_held` and `month_held`; `open` is generations.
    """

    now: int
    requests: int
    tokens: int
    held: int
    day: int
    month: int
    open: int
    day_held: int = 0
    month_held: int = 0


class _Budget(NamedTuple):
    """A budget, what is left of it, and what of it open generations may give back."""

    name: str
    left: int
    held: int
    window: Window


@dataclass(frozen=True, slots=True)
class Standing:
    """One limit: what is left of it, and in how many seconds all of it is back; `concurrent` has no window."""

    name: str
    quota: int
    window: int | None
    remaining: int
    reset: int | None


def standings(charge: Charge, seen: Seen, windows: Windows) -> tuple[Standing, ...]:
    """Every limit of a key, or of one of its people, in the order in which they are declared."""
    known = _standings(charge.limits, seen, windows)
    if not (prefix := charge.prefix):
        return tuple(known)
    return tuple(replace(standing, name=prefix + standing.name) for standing in known)


def _standings(limits: Limits, seen: Seen, windows: Windows) -> Iterator[Standing]:
    day, month = windows
    if limits.requests:
        yield rate_standing("requests", limits.requests, max(0, seen.requests - seen.now))
    if limits.tokens:
        yield rate_standing("tokens", limits.tokens, max(0, seen.tokens - seen.now) + seen.held)
    if limits.tokens_per_day is not None:
        yield _budget_standing("tokens_per_day", limits.tokens_per_day, seen.day, day, seen.now)
    if limits.tokens_per_month is not None:
        yield _budget_standing("tokens_per_month", limits.tokens_per_month, seen.month, month, seen.now)
    if limits.concurrent is not None:
        yield Standing("concurrent", limits.concurrent, None, max(0, limits.concurrent - seen.open), None)


def rate_standing(name: str, rate: Rate, ahead: int) -> Standing:
    """A rate of which `ahead` microseconds are taken."""
    left = max(0, room_of(rate) - ahead) * rate.count // (rate.period * SECOND)
    return Standing(name, rate.count, rate.period, min(rate.burst, left), -(-ahead // SECOND))


def _budget_standing(name: str, budget: int, used: int, window: Window, now: int) -> Standing:
    length = (window.end - window.start) // SECOND
    return Standing(name, budget, length, max(0, budget - used), -((now - window.end) // SECOND))


def fits(charge: Charge, seen: Seen) -> bool:
    """Whether no limit refuses a charge or cuts it; nearly all are such."""
    limits, tokens = charge.limits, charge.tokens
    day, month = limits.tokens_per_day, limits.tokens_per_month
    return (
        (limits.tokens is None or charge.held <= _left_of_rate(limits.tokens, seen))
        and (day is None or seen.day + tokens <= day)
        and (month is None or seen.month + tokens <= month)
        and (limits.concurrent is None or seen.open < limits.concurrent)
        and (limits.requests is None or _request_wait(charge, limits.requests, seen) <= 0)
    )


def _request_wait(charge: Charge, rate: Rate, seen: Seen) -> int:
    return max(seen.requests - seen.now, 0) + charge.request_cost - room_of(rate)


def waits(charge: Charge, seen: Seen, windows: Windows) -> dict[str, int]:
    """The limits that refuse a charge, and the microseconds after which it is worth another try.

    A charge is cut where there is too little, but not to a scrap where more comes back soon: a rate grows back, and
    others that run give back what they do not use. Then half of what it could have is its least.
    """
    limits, now = charge.limits, seen.now
    found: dict[str, int] = {}
    if limits.requests:
        found["requests"] = _request_wait(charge, limits.requests, seen)
    if limits.tokens and charge.part_held > (left := _left_of_rate(limits.tokens, seen)):
        soon = charge.part_held <= left + seen.held
        found["tokens"] = min(charge.held - left, _TURN) if soon else charge.held - left
    for budget in _budgets(limits, seen, windows):
        alone = min(charge.tokens, budget.left + budget.held)
        if alone < charge.least:
            found[budget.name] = budget.window.end - now
        elif budget.left < half(alone, charge.least):
            found[budget.name] = _TURN
    if limits.concurrent is not None and seen.open >= limits.concurrent:
        found["concurrent"] = _TURN
    return {name: wait for name, wait in found.items() if wait > 0}


def cut(charge: Charge, seen: Seen, windows: Windows) -> int:
    """The tokens that a charge takes which no limit refuses: as many as there are, at most all of them."""
    tokens = charge.tokens
    if charge.limits.tokens and charge.held > (left := _left_of_rate(charge.limits.tokens, seen)):
        tokens = max(charge.part, left // charge.unit)
    return min([tokens, *(budget.left for budget in _budgets(charge.limits, seen, windows))])


def _left_of_rate(rate: Rate, seen: Seen) -> int:
    return room_of(rate) - max(seen.tokens - seen.now, 0) - seen.held


def _budgets(limits: Limits, seen: Seen, windows: Windows) -> Iterator[_Budget]:
    day, month = windows
    if limits.tokens_per_day is not None:
        yield _Budget("tokens_per_day", limits.tokens_per_day - seen.day, seen.day_held, day)
    if limits.tokens_per_month is not None:
        yield _Budget("tokens_per_month", limits.tokens_per_month - seen.month, seen.month_held, month)


def exceeded(charge: Charge, seen: Seen, windows: Windows) -> LimitExceeded:
    """The refusal of a charge; it names the limit that takes longest."""
    refusing = waits(charge, seen, windows)
    name = max(refusing, key=refusing.__getitem__)
    seconds = whole_seconds(refusing[name])
    limit = written(charge.limits, name)
    shown = charge.prefix + name
    reached = f"The limit '{shown}' of this key is reached: {limit}."
    if refusing[name] <= _TURN and _others_hold(name, seen):
        reached = f"What is left of the limit '{shown}' of this key ({limit}) is set aside for what is running."
    return LimitExceeded(
        f"{reached} Try again in {seconds} s.",
        headers={"Retry-After": str(seconds), **headers(standings(charge, seen, windows))},
    )


def _others_hold(name: str, seen: Seen) -> bool:
    held = {"tokens": seen.held, "tokens_per_day": seen.day_held, "tokens_per_month": seen.month_held}
    return held.get(name, 0) > 0


def never(limits: Limits, name: str, reason: str, prefix: str = "") -> LimitExceeded:
    """The refusal of what would never fit; the SDKs of OpenAI and Anthropic know the field that says so."""
    return LimitExceeded(
        f"This request can never fit the limit '{prefix}{name}' of this key ({written(limits, name)}): {reason}.",
        headers={"X-Should-Retry": "false"},
    )


def written(limits: Limits, name: str) -> str:
    """A limit as its key's owner knows it."""
    unit = {"tokens_per_day": "/day", "tokens_per_month": "/month", "concurrent": " at once"}.get(name, "")
    return f"{getattr(limits, name)}{unit}"


def whole_seconds(microseconds: int) -> int:
    """Rounded up, and one at least."""
    return max(1, -(-microseconds // SECOND))


def headers(known: Sequence[Standing]) -> dict[str, str]:
    """`RateLimit` and `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers-10; none where nothing is limited."""
    if not known:
        return {}
    policies = [_policy(standing.name, standing.quota, standing.window) for standing in known]
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(map(_left, known))}


@lru_cache(maxsize=1024)
def _policy(name: str, quota: int, window: int | None) -> str:
    return f"{_string(name)};q={quota}" + (f";w={window}" if window is not None else ';qu="concurrent-requests"')


def _left(standing: Standing) -> str:
    reset = f";t={standing.reset}" if standing.reset is not None else ""
    return f"{_string(standing.name)};r={standing.remaining}{reset}"


@lru_cache(maxsize=256)
def _string(text: str) -> str:
    """A string of RFC 9651: ASCII, with quotes and backslashes escaped."""
    plain = text.encode("ascii", "replace").decode().replace("\\", "\\\\").replace('"', '\\"')
    return f'"{"".join(mark if mark.isprintable() else "?" for mark in plain)}"'
