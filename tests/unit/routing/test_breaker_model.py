"""The circuit breaker beside a small model of it, whatever happens in whatever order."""

from __future__ import annotations

from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from mlops_backend.services.llm.routing import Breaker, Endurance, Leave

# A request's number, its leave, and how often the breaker had opened or been reset when it got that.
Entered = tuple[int, Leave, int]
ENDURES: Final = Endurance(failures=3, within=30, pause=1, longest=8, trial=10)


class Model:
    """What a breaker does, told as a list of what happened since it was last well.

    `row` holds the times of the failures in a row, `openings` those of the openings; `paused` is until when.
    """

    def __init__(self) -> None:
        self.row: list[float] = []
        self.openings: list[float] = []
        self.paused: float | None = None
        self.trial: tuple[int, float] | None = None

    def state(self, now: float) -> str:
        """The state at a time."""
        if self.trial and now - self.trial[1] >= ENDURES.trial:
            self.on_probation(now)
        if self.paused is None:
            return "closed"
        return "open" if now < self.paused else "half-open"

    def well(self) -> None:
        """Nothing is wrong with it."""
        self.row, self.openings, self.paused, self.trial = [], [], None, None

    def on_probation(self, now: float) -> None:
        """One failure is missing to the next opening."""
        self.row, self.paused, self.trial = [now] * (ENDURES.failures - 1), None, None

    def fails(self, now: float) -> bool:
        """One more failure; whether it opens."""
        self.row = [*(self.row if self.row and now - self.row[-1] <= ENDURES.within else []), now]
        if self.paused is None and len(self.row) < ENDURES.failures:
            return False
        self.paused = now + min(ENDURES.longest, ENDURES.pause * 2 ** len(self.openings))
        self.openings.append(now)
        self.row, self.trial = [], None
        return True


class Together(RuleBasedStateMachine):
    """The breaker and the model hear the same."""

    leaves: Bundle[Entered] = Bundle("leaves")

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.number = self.era = 0
        self.model = Model()

    @initialize()
    def begin(self) -> None:
        """A new breaker."""
        self.breaker = Breaker(ENDURES, clock=lambda: self.now, draw=lambda: 1.0)

    @rule(seconds=st.sampled_from([0.25, 0.5, 1, 2, 4, 8, 10, 31]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule(target=leaves)
    def enter(self) -> Entered | MultipleResults[Entered]:
        """Somebody wants to ask."""
        state, leave = self.model.state(self.now), self.breaker.enter()
        wanted = state == "closed" or (state == "half-open" and self.model.trial is None)
        assert (leave is not None) is wanted
        if leave is None:
            return multiple()
        assert leave.trial is (state == "half-open")
        self.number += 1
        if leave.trial:
            self.model.trial = self.number, self.now
        return self.number, leave, self.era

    @rule(leave=consumes(leaves), failed=st.sampled_from([True, True, False, None]))
    def tell(self, leave: Entered, failed: bool | None) -> None:
        """A request is over."""
        number, real, era = leave
        real.tell(failed)
        self.model.state(self.now)
        if self.model.trial and self.model.trial[0] == number:
            self.model.trial = None
        if era != self.era or failed is None:
            return
        if not failed:
            self.model.well()
        elif self.model.fails(self.now):
            self.era += 1

    @rule()
    def answered(self) -> None:
        """A look went well."""
        self.breaker.answered()
        state = self.model.state(self.now)
        if state != "closed" and not self.model.trial and self.now >= self.model.openings[-1] + ENDURES.pause:
            self.model.on_probation(self.now)

    @rule()
    def reset(self) -> None:
        """An administrator has had enough."""
        self.breaker.reset()
        self.model.well()
        self.era += 1

    @invariant()
    def alike(self) -> None:
        """Both are in the same state, and know how long it lasts."""
        state = self.model.state(self.now)
        assert self.breaker.state == state
        paused, trial = self.model.paused, self.model.trial
        until = paused if state == "open" else trial[1] + ENDURES.trial if trial else None
        assert self.breaker.due == until


Together.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestBreakerAndModel = Together.TestCase
