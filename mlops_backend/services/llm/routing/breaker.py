"""A backend's circuit breaker: who cannot be reached is left alone for a while, and then tried by one.

Closed, it lets all through. `failures` in a row, no two of them further apart than `within` seconds, open it: then it
lets nobody through for a pause, which doubles from one opening to the next, and is drawn from its upper half so that
those who wait for several backends do not come back together. Behind the pause it is half-open: one trial goes through
at a time. Its success closes the breaker, its failure opens it again; one that says nothing, or whose client leaves,
makes room for the next.

Failures are counted in a row, not as a share of a window. What counts as a failure (`counts`) is nearly always all or
nothing: a process is there or not. A row needs two numbers and no least number of requests; at half of all requests
failing, three in a row come within fourteen on average; and what fails less often than that still does most of its
work, while each failure is tried elsewhere.

Two things close it on probation, where the next failure opens it again, for longer than before. One is a look at the
backend that went well (`answered`): a half-open backend stands behind all others and may get no trial for long. The
other one is a trial that has been out for `trial` seconds, longer than connecting may take, and has not failed: the
first load of a model after a restart takes minutes, and nobody else is to wait for its end.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Final, Self

from mlops_backend.errors import BackendRefused, BackendUnresolvable, BackendVanished, ConnectTimedOut
from mlops_backend.services.llm.routing.snapshot import Trips

_UNREACHABLE: Final = (BackendRefused, BackendUnresolvable, BackendVanished, ConnectTimedOut)
# A proxy before the backend says that there is none: a bad gateway; Cloudflare has more words for it.
_GATEWAYS: Final = frozenset({502, 521, 522, 523, 530})
_MOST_DOUBLINGS: Final = 30


def counts(outcome: BaseException | int, *, begun: bool = False) -> bool | None:
    """Whether what became of a request is a failure of its backend; `None` where it says nothing about that.

    Failures say that nobody is there, or no longer: refused, no such host, no connection in time, a connection that
    ended before a byte of the answer, a gateway's 502. A success is an answer with a status below 300. Nothing is said
    by

    - 4xx: it is about the request, and a server whose engine is dead may still check requests, so it is no success;
    - 429 and 503: whoever says so is alive and busy;
    - 500: Ollama says it of a wrong option, and of a model that is larger than the memory;
    - 504, and clocks of ours that run out behind the connection: a model that loads takes so long;
    - what happened in this service, or to the client.

    Args:
        outcome: the error, or the backend's own status.
        begun: whether a byte of the answer had come: then the backend was there, and its success was told.
    """
    if isinstance(outcome, int):
        return True if outcome in _GATEWAYS else False if 200 <= outcome < 300 else None
    return True if isinstance(outcome, _UNREACHABLE) and not begun else None


@dataclass(frozen=True, slots=True)
class Endurance:
    """What a breaker endures; all but the first in seconds.

    Args:
        failures: so many in a row open it.
        within: no two of them are further apart.
        pause: how long it is open the first time.
        longest: how long at most.
        trial: behind so many a trial that has not failed has connected; more than `CONNECT_TIMEOUT`.
    """

    failures: int = 3
    within: float = 30.0
    pause: float = 1.0
    longest: float = 30.0
    trial: float = 10.0


class Leave:
    """Leave to ask the backend once; `trial` where it is the only one at present.

    To be used in a `with`, whose end gives back a trial's place if nothing was told.
    """

    __slots__ = ("_breaker", "_era", "_told", "trial")

    def __init__(self, breaker: Breaker, era: int, trial: bool) -> None:
        self._breaker = breaker
        self._era = era
        self._told = False
        self.trial = trial

    def tell(self, failed: bool | None) -> None:
        """What became of it, in the words of `counts`; only what is told first counts."""
        if not self._told:
            self._told = True
            self._breaker._hear(self, self._era, failed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.tell(None)


class Breaker:
    """One backend's circuit breaker.

    Args:
        endurance: what it endures.
        clock: gives the time in seconds, and never goes back.
        draw: gives a number from 0 to 1, for the length of a pause.
    """

    def __init__(
        self,
        endurance: Endurance | None = None,
        *,
        clock: Callable[[], float] = monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._endurance = endurance or Endurance()
        self._clock = clock
        self._draw = draw
        self._era = 0
        self._failures = 0
        self._failed_at = 0.0
        self._openings = 0
        self._opened_at = 0.0
        self._until: float | None = None
        self._trial: Leave | None = None
        self._trial_until = 0.0

    @property
    def state(self) -> Trips:
        """The state now; see `due` for one that changes by itself."""
        return self._state(self._clock())

    @property
    def due(self) -> float | None:
        """When, by the clock, the state changes by itself; `None` when it waits for something to happen."""
        match self.state:
            case "open":
                return self._until
            case "half-open" if self._trial is not None:
                return self._trial_until
        return None

    @property
    def trip(self) -> tuple[float, int] | None:
        """For how many seconds it is open still, and how often it has opened in a row; `None` while it is closed."""
        if self._until is None:
            return None
        return max(0.0, self._until - self._clock()), self._openings

    def tripped(self, seconds: float, openings: int) -> None:
        """Another process has opened its own; one that is open already, and has been as often, stays as it is."""
        now = self._clock()
        if self._state(now) == "open" and openings <= self._openings:
            return
        self._era += 1
        self._openings = max(openings, self._openings)
        self._opened_at, self._until = now, now + max(0.0, min(seconds, self._endurance.longest))
        self._trial, self._failures = None, 0

    def enter(self) -> Leave | None:
        """Leave to ask the backend; `None` while it is left alone, or has its trial."""
        now = self._clock()
        state = self._state(now)
        if state == "closed":
            return Leave(self, self._era, trial=False)
        if state == "open" or self._trial is not None:
            return None
        self._trial, self._trial_until = Leave(self, self._era, trial=True), now + self._endurance.trial
        return self._trial

    def answered(self) -> None:
        """A look at the backend went well: it is closed on probation, no sooner than after the shortest pause."""
        now = self._clock()
        if self._until is not None and self._trial is None and now >= self._opened_at + self._endurance.pause:
            self._close_on_probation(now)

    def reset(self) -> None:
        """An administrator's word: it is closed, and what was before is forgotten."""
        self._era += 1
        self._close()

    def _state(self, now: float) -> Trips:
        if self._trial is not None and now >= self._trial_until:
            self._close_on_probation(now)
        if self._until is None:
            return "closed"
        return "half-open" if now >= self._until else "open"

    def _hear(self, leave: Leave, era: int, failed: bool | None) -> None:
        """What became of a leave; what was asked before it opened, or was reset, tells of another time."""
        now = self._clock()
        self._state(now)
        is_trial = self._trial is leave
        if is_trial:
            self._trial = None
        if era != self._era or failed is None:
            return
        if not failed:
            self._close()
        elif is_trial or self._fails_once_too_often(now):
            self._open(now)

    def _fails_once_too_often(self, now: float) -> bool:
        in_a_row = now - self._failed_at <= self._endurance.within
        self._failures = self._failures + 1 if in_a_row else 1
        self._failed_at = now
        return self._failures >= self._endurance.failures

    def _open(self, now: float) -> None:
        longest = min(self._endurance.longest, self._endurance.pause * 2 ** min(self._openings, _MOST_DOUBLINGS))
        self._era += 1
        self._openings += 1
        self._opened_at = now
        self._until = now + longest * (1 + self._draw()) / 2
        self._failures = 0

    def _close(self) -> None:
        self._until = self._trial = None
        self._failures = self._openings = 0

    def _close_on_probation(self, now: float) -> None:
        self._until = self._trial = None
        self._failures, self._failed_at = self._endurance.failures - 1, now
