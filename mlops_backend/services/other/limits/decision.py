"""How a key stands with its limits, what a refusal says, and the fields of an answer that tell both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from mlops_backend.errors import LimitExceeded
from mlops_backend.principal import Limits, Rate
from mlops_backend.services.other.limits.charge import Charge, room_of
from mlops_backend.services.other.limits.windows import SECOND, Window, windows_at

# Nobody knows when a generation will end; this soon is worth another try.
_TURN: Final = SECOND


class Seen(NamedTuple):
    """A key's counters at one moment, as the store keeps them.

    `requests` and `tokens` are theoretical arrival times, `held` is what open generations hold of the latter; `day` and
    `month` are tokens, `open` is generations.
    """

    now: int
    requests: int
    tokens: int
    held: int
    day: int
    month: int
    open: int


@dataclass(frozen=True, slots=True)
class Standing:
    """One limit: what is left of it, and in how many seconds all of it is back; `concurrent` has no window."""

    name: str
    quota: int
    window: int | None
    remaining: int
    reset: int | None


def standings(limits: Limits, seen: Seen) -> tuple[Standing, ...]:
    """Every limit of a key, in the order in which they are declared."""
    return tuple(_standings(limits, seen))


def _standings(limits: Limits, seen: Seen) -> Iterator[Standing]:
    day, month = windows_at(seen.now)
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


def waits(charge: Charge, seen: Seen) -> dict[str, int]:
    """The limits that refuse a charge, and the microseconds after which time alone would let it pass."""
    limits, now = charge.limits, seen.now
    found: dict[str, int] = {}
    if limits.requests:
        found["requests"] = max(seen.requests - now, 0) + charge.request_cost - room_of(limits.requests)
    if limits.tokens:
        found["tokens"] = max(seen.tokens - now, 0) + seen.held + charge.held - room_of(limits.tokens)
    day, month = windows_at(now)
    for name, budget, used, window in (
        ("tokens_per_day", limits.tokens_per_day, seen.day, day),
        ("tokens_per_month", limits.tokens_per_month, seen.month, month),
    ):
        if budget is not None and used + charge.tokens > budget:
            found[name] = window.end - now
    if limits.concurrent is not None and seen.open >= limits.concurrent:
        found["concurrent"] = _TURN
    return {name: wait for name, wait in found.items() if wait > 0}


def exceeded(charge: Charge, seen: Seen) -> LimitExceeded:
    """The refusal of a charge; it names the limit that takes longest."""
    refusing = waits(charge, seen)
    name = max(refusing, key=refusing.__getitem__)
    seconds = whole_seconds(refusing[name])
    return LimitExceeded(
        f"The limit '{name}' of this key is reached: {written(charge.limits, name)}. Try again in {seconds} s.",
        headers={"Retry-After": str(seconds), **headers(standings(charge.limits, seen))},
    )


def never(limits: Limits, name: str, reason: str) -> LimitExceeded:
    """The refusal of what would never fit; the SDKs of OpenAI and Anthropic know the field that says so."""
    return LimitExceeded(
        f"This request can never fit the limit '{name}' of this key ({written(limits, name)}): {reason}.",
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
