"""What is sent of a conversation, against a few lines that say what it ought to be."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mlops_backend.services.other.conversations import writes
from mlops_backend.services.other.conversations.bounds import Bounds
from mlops_backend.services.other.conversations.history import History, history, of_all, room, tokens_of
from mlops_backend.services.other.conversations.rows import Message
from mlops_backend.services.other.conversations.writes import Draft
from mlops_backend.services.other.database.database import Database

BOUNDS: Final = Bounds(10**6, 10**6, 10**9, 10**9)


@dataclass(frozen=True)
class Said:
    """A message of a generated conversation."""

    role: str
    letters: int
    replaced: bool = False

    @property
    def cost(self) -> int:
        """Its tokens, by the service's guess."""
        return tokens_of("x" * self.letters) + 8


def wanted(said: Sequence[Said], tokens: int) -> list[int]:
    """Where the messages stand that fit: the system's, and behind them whole turns from the end, one at the least."""
    current = [number for number, each in enumerate(said) if not each.replaced]
    system = [number for number in current if said[number].role == "system"]
    turns: list[list[int]] = [[]]
    for number in current:
        if said[number].role == "user":
            turns.append([])
        if said[number].role != "system":
            turns[-1].append(number)
    left, fitting = tokens - sum(said[number].cost for number in system), list[int]()
    for turn in reversed([turn for turn in turns if turn]):
        left -= sum(said[number].cost for number in turn)
        if left < 0 and fitting:
            break
        fitting += turn
    return sorted([*system, *fitting])


async def sent(database: Database, said: Sequence[Said], tokens: int) -> History:
    """Keep the messages, and ask what of them would be sent for the last one."""
    drafts = [
        Draft(
            Message(
                id=f"{number}-{id(said):x}-{tokens}"[:32],
                sequence=number + 1,
                role=each.role,
                content=f"{number} ".ljust(each.letters, "x")[: max(each.letters, 4)],
                replaced_at=1 if each.replaced else None,
            )
        )
        for number, each in enumerate(said)
    ]
    begun = replace(writes.begun("tester", "", "", 1, 1), next_sequence=len(drafts) + 1)
    async with database.writing() as connection:
        made = await writes.create(connection, begun, drafts, BOUNDS)
        found = await history(connection, made.id, len(drafts), tokens)
        await writes.remove(connection, made)
    return found


a_message = st.builds(
    Said,
    st.sampled_from(["user", "user", "assistant", "assistant", "system", "tool"]),
    st.integers(4, 400),
    st.booleans(),
)
a_question = st.builds(Said, st.sampled_from(["user", "tool"]), st.integers(4, 400))


@settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck), database=None)
@given(said=st.lists(a_message, max_size=30), question=a_question, tokens=st.integers(-50, 1500))
@example(said=[Said("user", 4), Said("assistant", 4)] * 90, question=Said("user", 4), tokens=10_000)
@example(said=[Said("user", 4), Said("assistant", 4)] * 90, question=Said("user", 4), tokens=700)
@example(said=[Said("user", 4), *[Said("assistant", 4), Said("tool", 4)] * 40], question=Said("tool", 4), tokens=1)
@example(said=[Said("system", 400)] * 9, question=Said("user", 400), tokens=10)
def test_what_fits_is_sent(
    runner: tuple[asyncio.Runner, Database], said: list[Said], question: Said, tokens: int
) -> None:
    """Those messages and no others, in their order; what is left out is counted."""
    loop, database = runner
    every = [*said, question]
    found = loop.run(sent(database, every, tokens))
    assert [int(line["content"].split("x")[0]) for line in found.messages] == wanted(every, tokens)
    assert found.omitted + len(found.messages) == sum(not each.replaced for each in every)


ROOMS: Final[dict[str, tuple[dict[str, Any], int]]] = {
    "nothing": ({}, 750),
    "no options": ({"options": None}, 750),
    "a short reply": ({"options": {"num_predict": 10}}, 990),
    "a long reply": ({"options": {"num_predict": 999}}, 500),
    "a reply without end": ({"options": {"num_predict": -1}}, 750),
    "a huge one": ({"options": {"num_predict": 1e308}}, 500),
    "no number": ({"options": {"num_predict": "10"}}, 750),
    "no tools": ({"tools": None}, 750),
}


@pytest.mark.parametrize(("asked", "left"), ROOMS.values(), ids=ROOMS)
def test_a_reply_has_room(asked: dict[str, Any], left: int) -> None:
    """What it may take by `num_predict`, up to half of the context, else a quarter."""
    assert room(1000, asked) == left


def test_tools_take_room() -> None:
    """As much as they are long."""
    tool = {"type": "function", "function": {"name": "x" * 300}}
    assert room(1000, {"tools": [tool] * 2}) == 750 - 2 * tokens_of(str(tool))


@given(st.text(), st.text())
def test_a_guess_grows_with_the_text(one: str, other: str) -> None:
    """Never less for more, never more than one a letter, and one for each letter beyond ASCII."""
    assert max(tokens_of(one), tokens_of(other)) <= tokens_of(one + other) <= tokens_of(one) + tokens_of(other)
    assert sum(not letter.isascii() for letter in one) <= tokens_of(one) <= len(one)


async def test_what_the_system_says_leaves_less_for_the_rest() -> None:
    """Also where all messages are here already."""
    system, old, new = (
        Message(id=str(n), sequence=n, role=role, content="x" * 400)
        for n, role in ((1, "system"), (2, "user"), (3, "user"))
    )
    cost = Said("user", 400).cost
    shown = await of_all([new, old, system], 2 * cost)
    assert ([line["role"] for line in shown.messages], shown.omitted) == (["system", "user"], 1)
    assert (await of_all([new, old, system], 3 * cost)).omitted == 0
