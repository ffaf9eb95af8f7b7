"""The circuit breaker: who cannot be reached is left alone and tried by one; a client's error never opens it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from mlops_backend import errors
from mlops_backend.errors import AppError
from mlops_backend.services.llm.routing import Breaker, Endurance, Leave, counts

FAILED, WELL, NOTHING = True, False, None


class Clock:
    """A time that passes when told, and draws that are made known."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.part = 1.0

    def __call__(self) -> float:
        """The time."""
        return self.now

    def draw(self) -> float:
        """How much of a pause is drawn."""
        return self.part


@pytest.fixture
def clock() -> Clock:
    """A time that stands still."""
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    """One that opens at the third failure, for 1, 2, 4 and at most 5 seconds."""
    return Breaker(Endurance(failures=3, within=30, pause=1, longest=5, trial=10), clock=clock, draw=clock.draw)


def entered(breaker: Breaker) -> Leave:
    """Leave, which must be given."""
    leave = breaker.enter()
    assert leave is not None
    return leave


def state_of(breaker: Breaker) -> str:
    """Its state now; a type checker takes a property's for one that stays."""
    return breaker.state


def hear(breaker: Breaker, *outcomes: bool | None) -> None:
    """Requests, one after the other, and what became of them."""
    for outcome in outcomes:
        with entered(breaker) as leave:
            leave.tell(outcome)


def opened(breaker: Breaker, clock: Clock) -> Breaker:
    """Open, and at the end of its pause."""
    hear(breaker, FAILED, FAILED, FAILED)
    assert breaker.due is not None
    clock.now = breaker.due
    return breaker


OUTCOMES = [
    (errors.BackendRefused("x"), FAILED),
    (errors.BackendUnresolvable("x"), FAILED),
    (errors.BackendVanished("x"), FAILED),
    (errors.ConnectTimedOut("x"), FAILED),
    *((status, FAILED) for status in (502, 521, 522, 523, 530)),
    *((status, WELL) for status in (200, 201, 204, 206)),
    *((status, NOTHING) for status in (100, 301, 304, 400, 401, 403, 404, 405, 408, 409, 413, 422, 429, 499)),
    *((status, NOTHING) for status in (500, 501, 503, 504, 505, 507, 520, 524, 529)),
    (errors.FirstByteTimedOut("x"), NOTHING),
    (errors.IdleTimedOut("x"), NOTHING),
    (errors.ClockRanOut("x"), NOTHING),
    (errors.BackendBusy("x"), NOTHING),
    (errors.BackendRejected(400, "x"), NOTHING),
    (errors.BackendRejected(404, "x"), NOTHING),
    (errors.BackendRejected(429, "x"), NOTHING),
    (errors.BackendFailed("x"), NOTHING),
    (errors.BackendNonsense("x"), NOTHING),
    (errors.StreamIncomplete("x"), NOTHING),
    (errors.NotImplementedHere("x"), NOTHING),
    (errors.PoolFull("x"), NOTHING),
    (errors.NoUsableBackend("x"), NOTHING),
    (errors.Draining("x"), NOTHING),
    (errors.LimitExceeded("x"), NOTHING),
    (errors.Unsupported("x"), NOTHING),
    (asyncio.CancelledError(), NOTHING),
    (ConnectionResetError(), NOTHING),
    (ValueError("x"), NOTHING),
]


@pytest.mark.parametrize(("outcome", "says"), OUTCOMES, ids=lambda value: str(getattr(value, "code", value)))
def test_what_counts(outcome: BaseException | int, says: bool | None) -> None:
    """A failure tells that nobody is there; wrong, busy and slow say nothing."""
    assert counts(outcome) is says


def kinds(root: type[AppError] = AppError) -> Iterator[type[AppError]]:
    """All errors of the tree."""
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


def test_only_four_errors_count() -> None:
    """One that is added to the tree says nothing until somebody thinks of it here."""
    failing = {kind.code for kind in kinds() if counts(kind.__new__(kind)) is not None}
    assert failing == {"backend_refused", "backend_unresolvable", "backend_vanished", "connect_timeout"}


def test_what_ends_amid_an_answer_says_nothing() -> None:
    """The backend was there: that was told when the answer began."""
    assert counts(errors.BackendVanished("x"), begun=True) is NOTHING


def test_some_failures_in_a_row_open_it(breaker: Breaker) -> None:
    """Fewer do not, and a success begins anew."""
    hear(breaker, FAILED, FAILED, WELL, FAILED, FAILED)
    assert state_of(breaker) == "closed"
    hear(breaker, FAILED)
    assert state_of(breaker) == "open"
    assert breaker.enter() is None


@pytest.mark.parametrize("status", [400, 401, 404, 422, 429, 500, 503, 504])
def test_a_clients_errors_and_busy_ones_never_open_it(breaker: Breaker, status: int) -> None:
    """However many come."""
    hear(breaker, *[counts(status)] * 1000)
    assert state_of(breaker) == "closed"


def test_slow_to_load_never_opens_it(breaker: Breaker) -> None:
    """The first byte may be late as often as it likes."""
    hear(breaker, *[counts(errors.FirstByteTimedOut("x"))] * 1000)
    assert state_of(breaker) == "closed"


def test_what_says_nothing_does_not_hide_failures(breaker: Breaker) -> None:
    """A dead engine behind a server that still refuses wrong requests is found."""
    hear(breaker, FAILED, counts(400), FAILED, counts(503), FAILED)
    assert state_of(breaker) == "open"


def test_failures_far_apart_are_no_row(breaker: Breaker, clock: Clock) -> None:
    """Three in three days are not a backend that is down."""
    for _ in range(9):
        hear(breaker, FAILED)
        clock.now += 31
    assert state_of(breaker) == "closed"


def test_half_open_lets_one_through(breaker: Breaker, clock: Clock) -> None:
    """And nobody beside it, however many come."""
    opened(breaker, clock)
    assert state_of(breaker) == "half-open"
    trial = entered(breaker)
    assert trial.trial
    assert [breaker.enter() for _ in range(100)] == [None] * 100


def test_a_trials_success_closes_it(breaker: Breaker, clock: Clock) -> None:
    """For all, and with a clean record."""
    opened(breaker, clock)
    hear(breaker, WELL)
    assert state_of(breaker) == "closed"
    hear(breaker, FAILED, FAILED)
    assert state_of(breaker) == "closed"


def test_pauses_grow_up_to_a_bound(breaker: Breaker, clock: Clock) -> None:
    """With each trial that fails; a success begins anew with the shortest."""
    hear(breaker, FAILED, FAILED, FAILED)
    pauses = []
    for _ in range(5):
        assert breaker.due is not None
        pauses.append(breaker.due - clock.now)
        clock.now = breaker.due
        hear(breaker, FAILED)
    assert pauses == [1, 2, 4, 5, 5]
    assert breaker.due is not None
    clock.now = breaker.due
    hear(breaker, WELL, FAILED, FAILED, FAILED)
    assert breaker.due == clock.now + 1


def test_pauses_are_drawn_from_their_upper_half(breaker: Breaker, clock: Clock) -> None:
    """So that not everybody comes back at once."""
    clock.part = 0.0
    hear(breaker, FAILED, FAILED, FAILED)
    assert breaker.due == clock.now + 0.5


@pytest.mark.parametrize("says", [NOTHING, counts(404), counts(503), counts(asyncio.CancelledError())])
def test_a_trial_that_says_nothing_makes_room(breaker: Breaker, clock: Clock, says: bool | None) -> None:
    """It neither closes nor opens it; the next one is the trial."""
    opened(breaker, clock)
    hear(breaker, says)
    assert state_of(breaker) == "half-open"
    assert entered(breaker).trial


async def test_a_trial_whose_client_leaves_makes_room(breaker: Breaker, clock: Clock) -> None:
    """Its task is cancelled, and nobody tells anything."""
    opened(breaker, clock)

    async def ask() -> None:
        with entered(breaker):
            await asyncio.Event().wait()

    task = asyncio.create_task(ask())
    await asyncio.sleep(0)
    assert breaker.enter() is None
    task.cancel()
    await asyncio.wait([task])
    assert entered(breaker).trial


def test_only_what_is_told_first_counts(breaker: Breaker, clock: Clock) -> None:
    """The end of a `with`, and whatever is told again, changes nothing."""
    hear(breaker, FAILED, FAILED)
    leave = entered(breaker)
    leave.tell(NOTHING)
    leave.tell(FAILED)
    assert state_of(breaker) == "closed"
    breaker.reset()
    opened(breaker, clock)
    with entered(breaker) as trial:
        trial.tell(FAILED)
        trial.tell(WELL)
    assert state_of(breaker) == "open"


def test_requests_of_another_time_do_not_count(breaker: Breaker, clock: Clock) -> None:
    """What was asked before it opened neither closes it nor makes its pause longer."""
    late = [entered(breaker) for _ in range(10)]
    opened(breaker, clock)
    due = breaker.due
    late[0].tell(WELL)
    late[1].tell(FAILED)
    assert (state_of(breaker), breaker.due) == ("half-open", due)
    hear(breaker, WELL)
    for leave in late:
        leave.tell(FAILED)
    assert state_of(breaker) == "closed"


def test_a_trial_that_has_connected_keeps_nobody_out(breaker: Breaker, clock: Clock) -> None:
    """A model loads for minutes: behind `trial` seconds without a failure others come through, on probation."""
    opened(breaker, clock)
    trial = entered(breaker)
    assert breaker.due == clock.now + 10
    clock.now += 10
    assert state_of(breaker) == "closed"
    assert not entered(breaker).trial
    trial.tell(FAILED)
    assert state_of(breaker) == "open"
    assert breaker.due == clock.now + 2


def test_a_look_that_went_well_closes_it_on_probation(breaker: Breaker, clock: Clock) -> None:
    """The next failure opens it again, for longer; a success clears its record."""
    opened(breaker, clock)
    for doubled in (2, 4):
        breaker.answered()
        assert state_of(breaker) == "closed"
        hear(breaker, FAILED)
        assert breaker.due == clock.now + doubled
        clock.now += doubled
    breaker.answered()
    hear(breaker, WELL, FAILED, FAILED)
    assert state_of(breaker) == "closed"


def test_a_look_shortens_a_long_pause_but_not_the_shortest(breaker: Breaker, clock: Clock) -> None:
    """A backend that was started again is not left alone for half a minute; nor is it asked all the time."""
    opened(breaker, clock)
    hear(breaker, FAILED)
    clock.now += 0.75
    breaker.answered()
    assert state_of(breaker) == "open"
    clock.now += 0.25
    breaker.answered()
    assert state_of(breaker) == "closed"


def test_a_look_does_not_meddle_with_a_trial(breaker: Breaker, clock: Clock) -> None:
    """While there is one, that one tells more."""
    opened(breaker, clock)
    trial = entered(breaker)
    breaker.answered()
    assert state_of(breaker) == "half-open"
    trial.tell(FAILED)
    assert state_of(breaker) == "open"


def test_an_administrator_can_close_it(breaker: Breaker, clock: Clock) -> None:
    """At once, and whatever was under way."""
    opened(breaker, clock)
    trial = entered(breaker)
    breaker.reset()
    assert state_of(breaker) == "closed"
    trial.tell(FAILED)
    hear(breaker, FAILED, FAILED)
    assert state_of(breaker) == "closed"


def test_nothing_changes_by_itself_while_it_is_closed(breaker: Breaker, clock: Clock) -> None:
    """Or while it waits for a trial to come."""
    assert breaker.due is None
    opened(breaker, clock)
    assert breaker.due is None


def test_its_own_clock_and_draws_are_real() -> None:
    """Without anything given it opens, and closes, by the time of this process."""
    breaker = Breaker(Endurance(failures=1, pause=0.002))
    hear(breaker, FAILED)
    assert state_of(breaker) == "open"
    while state_of(breaker) == "open":
        pass
    hear(breaker, WELL)
    assert state_of(breaker) == "closed"


def test_another_process_opens_it(breaker: Breaker, clock: Clock) -> None:
    """For what is left of its pause, and never for longer than the longest; what was asked before tells nothing."""
    leave = entered(breaker)
    breaker.tripped(3.0, 2)
    assert (breaker.trip, state_of(breaker)) == ((3.0, 2), "open")
    leave.tell(WELL)
    assert breaker.enter() is None
    breaker.tripped(1e9, 1)
    assert breaker.trip == (3.0, 2)  # it has been open as often already
    breaker.tripped(1e9, 9)
    assert breaker.trip == (5.0, 9)
    clock.now += 5
    assert state_of(breaker) == "half-open"
    hear(breaker, WELL)
    assert state_of(breaker) == "closed"


def test_what_another_process_says_ends_a_trial_here(breaker: Breaker, clock: Clock) -> None:
    """The backend was tried there meanwhile, and is not there."""
    trial = entered(opened(breaker, clock))
    breaker.tripped(2.0, 2)
    assert (breaker.trip, state_of(breaker)) == ((2.0, 2), "open")
    clock.now += 2
    assert entered(breaker).trial
    trial.tell(WELL)
    assert state_of(breaker) == "half-open"
