"""The order of backends: what can be asked, has a slot, has the model warm and the least load, then affinity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_backend.services.llm.routing import Choice, Snapshot, Standing, Wanted, ranked

MODEL = "llama3:latest"
OTHER = "qwen3:latest"


def having(name: str, **more: Any) -> Standing:
    """A backend that has the model, on its disk alone."""
    return Standing(name, models=frozenset({MODEL}), **more)


def warm(name: str, context: int | None = 4096, **more: Any) -> Standing:
    """A backend that has it in its memory."""
    return having(name, loaded={MODEL: context}, **more)


def told(*standings: Standing, num_ctx: int | None = None, affinity: str = "") -> list[tuple[str, str]]:
    """Names and reasons, best first."""
    return [(each.name, each.reason) for each in ranked(standings, Wanted(MODEL, num_ctx, affinity))]


def first(snapshot: Snapshot, affinity: str, model: str = MODEL) -> str:
    """Whom a request goes to."""
    return snapshot.ranked(Wanted(model, affinity=affinity))[0].name


def test_nobody_lists_it() -> None:
    """Then there is no choice, and nobody that holds it."""
    snapshot = Snapshot([Standing("a", models=frozenset({OTHER})), Standing("b")])
    assert snapshot.ranked(Wanted(MODEL)) == []
    assert snapshot.holders(MODEL) == []
    assert Snapshot([]).ranked(Wanted(MODEL)) == []


def test_only_one_has_it() -> None:
    """Then it is that one, however full, cold or loaded it is."""
    assert told(having("a", leases=9, most=4), Standing("b")) == [("a", "only")]


def test_drained_and_open_ones_are_left_out() -> None:
    """They are no choice, and tell why there is none."""
    drained, opened = having("a", drained=True), having("b", trips="open")
    assert told(drained, opened, having("c")) == [("c", "only")]
    assert told(drained, opened) == []
    assert [each.name for each in Snapshot([drained, opened]).holders(MODEL)] == ["a", "b"]


def test_those_that_do_not_answer_are_the_last_resort() -> None:
    """One that does not answer is no choice beside one that does; of those alone all are."""
    assert told(warm("a", reachable=False), having("b")) == [("b", "only")]
    gone = [warm("a", reachable=False), having("b", reachable=False), having("c", reachable=False, drained=True)]
    assert told(*gone) == [("a", "away"), ("b", "away")]


def test_a_half_open_one_is_behind_all_others() -> None:
    """Also behind those that are full and cold; the only one is tried."""
    full = having("full", leases=1, most=1)
    assert told(warm("sick", trips="half-open"), full, having("cold"))[-1] == ("sick", "trial")
    assert told(warm("sick", trips="half-open")) == [("sick", "trial")]


def test_warm_comes_before_loading_before_cold_before_another_context() -> None:
    """However much the warm one has to do."""
    found = told(
        having("cold"),
        warm("other", 2048),
        warm("ready", 8192, leases=3, most=4),
        having("loading", loading=frozenset({MODEL}), leases=2),
        num_ctx=8192,
    )
    assert found == [("ready", "warm"), ("loading", "loading"), ("cold", "cold"), ("other", "reload")]


def test_any_context_will_do_where_none_is_wanted() -> None:
    """And one that a server does not tell is taken for the right one."""
    assert told(having("cold"), warm("a", 2048))[0] == ("a", "warm")
    assert told(having("cold"), warm("a", None), num_ctx=8192)[0] == ("a", "warm")


def test_a_load_under_way_may_bring_the_context_that_is_wanted() -> None:
    """A model that is loaded with another one, and is being loaded, is better than a cold one."""
    again = warm("again", 2048, loading=frozenset({MODEL}))
    assert told(having("cold"), again, num_ctx=8192)[0] == ("again", "loading")


def test_full_ones_are_last_and_listed() -> None:
    """A cold one with a slot comes before a warm one without; callers queue for the rest, the warm ones first."""
    found = told(having("b", leases=2, most=2), warm("a", leases=1, most=1), having("c"))
    assert found == [("c", "cold"), ("a", "full"), ("b", "full")]


def test_the_least_loaded_is_first() -> None:
    """By its share of its own slots, and not by how many there are."""
    found = told(warm("small", leases=1, most=2), warm("large", leases=4, most=16), warm("unbounded", leases=3))
    assert found == [("large", "least-loaded"), ("small", "least-loaded"), ("unbounded", "least-loaded")]
    assert told(warm("a", leases=1), warm("b"))[0] == ("b", "idle")


def test_a_weight_is_a_share_of_the_load() -> None:
    """One of three times the weight takes three times as many."""
    taken = Counter({"heavy": 0, "light": 0})
    snapshot = Snapshot([warm("heavy", weight=3), warm("light")])
    for _ in range(40):
        taken[snapshot.ranked(Wanted(MODEL), taken)[0].name] += 1
    assert abs(taken["heavy"] - 30) <= 1


def test_what_is_held_now_counts() -> None:
    """The leases that are handed in stand in for those of the snapshot; one that is not named has none."""
    snapshot = Snapshot([warm("a", leases=3, most=4), warm("b", most=4)])
    assert snapshot.ranked(Wanted(MODEL))[0] == Choice("b", "idle")
    assert snapshot.ranked(Wanted(MODEL), {"b": 1})[0] == Choice("a", "idle")
    assert snapshot.ranked(Wanted(MODEL), {"b": 4})[1] == Choice("b", "full")


def test_a_conversation_finds_its_backend_again() -> None:
    """Whatever order the backends are told in, and in every process."""
    backends = [warm(name) for name in "abcdef"]
    there, back = Snapshot(backends), Snapshot(reversed(backends))
    for number in range(100):
        assert first(there, f"chat {number}") == first(back, f"chat {number}")
    assert [first(there, f"chat {number}") for number in range(8)] == list("afecedda")
    assert there.ranked(Wanted(MODEL, affinity="chat 1"))[0].reason == "affinity"


def test_affinity_beats_load_within_a_bound() -> None:
    """By one request where there are few slots, by an eighth of them where there are many; then load decides."""
    for most, bound in ((None, 1), (4, 1), (64, 8)):
        snapshot = Snapshot([warm("a", most=most), warm("b", most=most)])
        home = first(snapshot, "chat")
        other = "b" if home == "a" else "a"
        assert snapshot.ranked(Wanted(MODEL, affinity="chat"), {home: bound})[0] == Choice(home, "affinity")
        assert snapshot.ranked(Wanted(MODEL, affinity="chat"), {home: bound + 1})[0] == Choice(other, "idle")


def test_without_affinity_load_alone_decides() -> None:
    """One lease fewer is enough."""
    for loaded, other in (("a", "b"), ("b", "a")):
        snapshot = Snapshot([warm("a"), warm("b")])
        assert snapshot.ranked(Wanted(MODEL), {loaded: 1})[0] == Choice(other, "idle")


def test_affinity_never_wins_against_a_warm_model_or_a_free_slot() -> None:
    """The home of a conversation is passed over where it would have to load, or has no slot."""
    names = list("abcd")
    home = first(Snapshot([warm(name) for name in names]), "chat")
    others = [warm(name) for name in names if name != home]
    assert first(Snapshot([having(home), *others]), "chat") != home
    assert first(Snapshot([warm(home, leases=1, most=1), *others]), "chat") != home


def test_a_cold_model_has_one_home() -> None:
    """Conversations that come together load it once; models spread over the backends."""
    both = frozenset({MODEL, *(f"m{number}:latest" for number in range(200))})
    snapshot = Snapshot([Standing(name, models=both) for name in "abcd"])
    assert len({first(snapshot, f"chat {number}") for number in range(50)}) == 1
    homes = Counter(first(snapshot, "", f"m{number}:latest") for number in range(200))
    assert all(30 <= homes[name] <= 70 for name in "abcd")


def test_keys_spread_by_weight() -> None:
    """Each backend is home to its share of the conversations."""
    snapshot = Snapshot([warm("a"), warm("b"), warm("heavy", weight=2)])
    homes = Counter(first(snapshot, f"chat {number}") for number in range(4000))
    assert abs(homes["heavy"] - 2000) < 200
    assert abs(homes["a"] - 1000) < 150


@given(st.integers(2, 12), st.integers(0, 11), st.integers(0, 1000))
def test_one_that_leaves_takes_only_its_own_keys_along(count: int, leaving: int, seed: int) -> None:
    """All others stay; and one that joins takes keys, and moves none from one old backend to another."""
    backends = [warm(f"{seed} {number}", weight=1 + number % 3) for number in range(count)]
    gone = backends[leaving % count]
    all_there, without = Snapshot(backends), Snapshot([each for each in backends if each is not gone])
    for number in range(30):
        before, after = first(all_there, f"chat {number}"), first(without, f"chat {number}")
        assert after == before or before == gone.name


def test_a_tenth_backend_takes_a_tenth() -> None:
    """Not half of all conversations lose their cache."""
    nine = [warm(f"gpu-{number}") for number in range(9)]
    before, after = Snapshot(nine), Snapshot([*nine, warm("gpu-9")])
    keys = [f"chat {number}" for number in range(3000)]
    moved = sum(first(before, key) != first(after, key) for key in keys)
    assert 200 < moved < 400


a_standing = st.builds(
    Standing,
    name=st.sampled_from("abcdefgh"),
    reachable=st.booleans(),
    leases=st.integers(0, 6),
    most=st.none() | st.integers(1, 4),
    weight=st.floats(0.01, 100),
    models=st.just(frozenset({MODEL})) | st.just(frozenset()),
    loaded=st.dictionaries(st.just(MODEL), st.sampled_from([None, 2048, 4096])),
    loading=st.sampled_from([frozenset(), frozenset({MODEL})]),
    trips=st.sampled_from(["closed", "half-open", "open"]),
    drained=st.booleans(),
)


@given(
    st.lists(a_standing, max_size=8, unique_by=lambda each: each.name),
    st.sampled_from([None, 4096]),
    st.sampled_from(["", "x", "y"]),
)
def test_whatever_is_told_the_rules_hold(standings: list[Standing], num_ctx: int | None, affinity: str) -> None:
    """Each that may be asked is listed once; sick behind sound, full behind free, in whatever order they are told."""
    wanted = Wanted(MODEL, num_ctx, affinity)
    found = ranked(standings, wanted)
    by_name = {each.name: each for each in standings}
    usable = {n for n, each in by_name.items() if MODEL in each.models and not each.drained and each.trips != "open"}
    there = {name for name in usable if by_name[name].reachable}
    assert Counter(choice.name for choice in found) == Counter(there or usable)
    if there:
        assert ranked(standings[::-1], wanted) == found
        order = [(by_name[c.name].trips == "half-open", is_full(by_name[c.name])) for c in found]
        assert [sick for sick, _ in order] == sorted(sick for sick, _ in order)
        sound = [full for sick, full in order if not sick]
        assert sound == sorted(sound)


def is_full(standing: Standing) -> bool:
    """Whether it has no slot."""
    return standing.most is not None and standing.leases >= standing.most


@pytest.mark.parametrize("wrong", [{"weight": 0}, {"weight": float("nan")}, {"weight": float("inf")}, {"most": 0}])
def test_numbers_out_of_range_are_named(wrong: dict[str, Any]) -> None:
    """With the backend's name and the field's."""
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} of gpu"):
        replace(having("gpu"), **wrong)


def test_two_of_one_name_are_an_error() -> None:
    """Leases and breakers are kept by name."""
    with pytest.raises(ValueError, match="two backends are called a"):
        Snapshot([having("a"), having("a")])


def test_an_order_costs_as_much_as_three_thousand_lines(uninterrupted: None) -> None:
    """100 µs where a line takes 30 ns, for any of 1,000 models on each of 100 backends; thrice that passes."""
    models = [f"model-{number}:latest" for number in range(1000)]
    loaded = dict.fromkeys(models, 4096)
    held = {f"gpu-{number}": number % 3 for number in range(100)}
    snapshot = Snapshot(Standing(name, most=8, models=frozenset(models), loaded=loaded) for name in held)
    wanted = [Wanted(model, 4096, f"chat {model}") for model in models[::10]]

    def ask() -> None:
        for each in wanted:
            snapshot.ranked(each, held)

    def count() -> None:
        for _ in range(100):
            total = 0
            for number in range(1000):
                total = total + number * 3

    assert fastest(ask) < 10 * fastest(count)


def fastest(work: Callable[[], None]) -> float:
    """Seconds that it takes when nothing comes between."""
    times = []
    for _ in range(7):
        begun = perf_counter()
        work()
        times.append(perf_counter() - begun)
    return min(times)
