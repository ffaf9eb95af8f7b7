"""The fair queue: each key has its share, nobody is forgotten, and nothing is remembered that need not be."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from mlops_backend.services.llm.leases.fair_queue import FairQueue, Ticket

GPU: Final = frozenset({"gpu"})
AGED: Final = 30.0


def ticket(key: str, cost: float = 1.0, slots: frozenset[str] = GPU, *, since: float = 0.0, **more: float) -> Ticket:
    """One that needs a slot of the only backend."""
    return Ticket(key, slots, cost, since, **more)  # type: ignore[arg-type]


def queued(*tickets: Ticket) -> FairQueue:
    """A queue with them all."""
    queue = FairQueue(AGED)
    for each in tickets:
        queue.put(each)
    return queue


def taken(queue: FairQueue, slot: str = "gpu", now: float = 0.0) -> list[str]:
    """The keys of all that wait for a slot, as they come."""
    keys = []
    while (found := queue.take(slot, now)) is not None:
        keys.append(found.key)
    return keys


def test_one_key_is_served_in_its_order() -> None:
    """What came first is first."""
    first, second = ticket("a"), ticket("a")
    queue = queued(first, second)
    assert [queue.take("gpu", 0), queue.take("gpu", 0), queue.take("gpu", 0)] == [first, second, None]


def test_keys_take_turns_however_many_wait() -> None:
    """A newcomer comes behind one of each other key, not behind all of them."""
    queue = queued(*(ticket("greedy") for _ in range(200)))
    assert [queue.take("gpu", 0) for _ in range(3)]
    queue.put(ticket("modest"))
    assert taken(queue)[:3].index("modest") <= 1


def test_what_costs_more_is_a_larger_share() -> None:
    """Of a key with long prompts fewer are taken: as many tokens as of the other."""
    queue = queued(*(ticket("long", 10) for _ in range(10)), *(ticket("short", 1) for _ in range(100)))
    first = Counter(taken(queue)[:22])
    assert first["short"] >= 18
    assert first["long"] >= 2


def test_a_weight_is_a_share() -> None:
    """Three times the weight is three times as many."""
    queue = queued(*(ticket("heavy", weight=3) for _ in range(90)), *(ticket("light") for _ in range(90)))
    assert abs(Counter(taken(queue)[:80])["heavy"] - 60) <= 2


def test_batch_gives_way() -> None:
    """While somebody else waits for the same slot; never to those who wait for another one."""
    other = frozenset({"other"})
    queue = queued(ticket("b", batch=True), ticket("p"), ticket("q", slots=other))
    assert queue.take("gpu", 0).key == "p"  # type: ignore[union-attr]
    assert queue.take("gpu", 0).key == "b"  # type: ignore[union-attr]
    assert taken(queue, "other") == ["q"]


def test_batch_that_has_waited_is_every_second_one() -> None:
    """So that neither starves: not the old one, and not the people before it."""
    queue = queued(*(ticket("b", batch=True) for _ in range(3)), *(ticket("p") for _ in range(20)))
    assert [queue.take("gpu", AGED - 1).key for _ in range(10)] == ["p"] * 10  # type: ignore[union-attr]
    assert taken(queue, now=AGED)[:6] == ["b", "p", "b", "p", "b", "p"]


def test_a_slot_is_for_those_who_need_it() -> None:
    """One that needs any of two is taken by the first that is free; nobody else is passed over for ever."""
    either, one = frozenset({"gpu", "cpu"}), frozenset({"cpu"})
    queue = queued(ticket("any", slots=either), ticket("cpu only", slots=one))
    assert taken(queue, "gpu") == ["any"]
    assert taken(queue, "cpu") == ["cpu only"]
    assert len(queue) == 0


def test_who_leaves_costs_nothing() -> None:
    """Neither a turn nor a share, wherever it stood, and however often it is said."""
    leaving, staying, other = ticket("a", 100), ticket("a", 1), ticket("b", 1)
    queue = queued(leaving)
    queue.put(ticket("c"))
    queue.drop(leaving)
    queue.drop(leaving)
    queue.put(other)
    queue.put(staying)
    assert queue.of_key("a") == 1
    assert taken(queue) == ["c", "b", "a"]


def test_nothing_is_remembered_of_those_who_left() -> None:
    """A queue that is stuck, while clients come and go: it holds those who wait, and little beside."""
    queue = queued(ticket("stays"))
    for number in range(10_000):
        gone = ticket(f"key {number}")
        queue.put(gone)
        queue.drop(gone)
    assert len(queue) == 1
    assert sum(len(line.waiting) for line in queue._lines.values()) < 200
    assert len(queue._ends) < 200


def test_an_empty_queue_has_no_past() -> None:
    """Whoever waited for long does not pay for it when nobody else is there."""
    queue = queued(ticket("a", 1000))
    assert taken(queue) == ["a"]
    queue.put(ticket("a"))
    queue.put(ticket("b"))
    assert taken(queue) == ["a", "b"]


def test_the_order_that_is_told_is_the_order_that_comes() -> None:
    """People first, then batch, each by their tags."""
    queue = queued(
        ticket("b", batch=True),
        ticket("x", 5),
        ticket("y"),
        ticket("x"),
        ticket("y"),
        ticket("z", slots=frozenset("z")),
    )
    told = [each.key for each in queue.in_order(GPU)]
    assert told == taken(queue) == ["x", "y", "y", "x", "b"]


a_step = st.tuples(
    st.sampled_from("pppptttd"), st.sampled_from("abc"), st.integers(1, 9), st.sampled_from("gcx"), st.booleans()
)


@given(st.lists(a_step, max_size=60))
def test_whatever_happens_each_is_taken_once_or_leaves(steps: list[tuple[str, str, int, str, bool]]) -> None:
    """And nobody is taken who does not need the slot; a key's own in one class come in their order."""
    queue = FairQueue(AGED)
    live: list[Ticket] = []
    orders: dict[object, list[int]] = {}
    for now, (what, key, cost, slot, batch) in enumerate(steps):
        slots = frozenset("gc") if slot == "x" else frozenset(slot)
        if what == "p":
            live.append(new := ticket(key, cost, slots, since=now, batch=batch))
            queue.put(new)
        elif what == "d" and live:
            queue.drop(live.pop(cost % len(live)))
        elif what == "t":
            found = queue.take(slot, now)
            assert (found is None) == (not any(slot in each.slots for each in live))
            if found is not None:
                assert slot in found.slots
                live.remove(found)
                orders.setdefault((found.key, found.batch, found.slots), []).append(found.number)
        assert len(queue) == len(live)
        assert Counter(each.key for each in live) == Counter(each.key for each in queue.waiting())
    assert all(first < second for numbers in orders.values() for first, second in pairwise(numbers))


@given(st.lists(st.integers(1, 20), min_size=5, max_size=40), st.lists(st.integers(1, 20), min_size=5, max_size=40))
def test_no_key_gets_ahead_by_more_than_a_request(ours: list[int], theirs: list[int]) -> None:
    """As long as both wait, the tokens that each was given differ by less than the two largest requests together."""
    queue = queued(*(ticket("a", cost) for cost in ours), *(ticket("b", cost) for cost in theirs))
    given_to: Counter[str] = Counter()
    while queue.of_key("a") and queue.of_key("b"):
        found = queue.take("gpu", 0)
        assert found is not None
        given_to[found.key] += int(found.cost)
        assert abs(given_to["a"] - given_to["b"]) <= max(ours) + max(theirs)
