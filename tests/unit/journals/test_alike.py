"""All who keep journals do the same, whatever is asked in whatever order."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import pytest
from msgspec import structs

from mlops_backend.errors import AppError
from mlops_backend.services.other.journals import Claim, Head, Opening, Page
from tests.unit.journals.keepers import KEEPERS, SMALL, Keeper


async def told(step: Awaitable[Any]) -> Any:
    """What comes of it, in a form that can be compared."""
    try:
        found = await step
    except AppError as error:
        return type(error).__name__, error.message
    if isinstance(found, Page):
        return structs.replace(found, silent=round(found.silent, 3), pieces=list(found.pieces))
    return round(found, 3) if isinstance(found, float) else found


class Asking:
    """Random questions; none is about a moment that two journals share, whose order is nobody's promise."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._begun: list[str] = []
        self._running: dict[str, int] = {}

    def asked(self, number: int) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """A method, and what it is asked."""
        chance = self._random
        if not self._begun or chance.random() < 0.15:
            return "begin", (self._opening(number),), {}
        journal = chance.choice(self._begun)
        kind = chance.choice(("write", "write", "write", "read", "read", "read", "end", "listed", "opening", "forget"))
        match kind:
            case "write":
                if journal not in self._running:
                    return "opening", (journal,), {}
                pieces = [
                    chance.randbytes(chance.choice((0, 10, 700, 3000, 9000))) for _ in range(chance.randint(0, 4))
                ]
                self._running[journal] += len(pieces)
                return "write", (journal, pieces, Head(200) if chance.random() < 0.3 else None), {}
            case "read":
                return "read", (journal, chance.randint(0, 12)), {}
            case "end":
                self._running.pop(journal, None)
                return "end", (journal, chance.choice(("done", "error"))), {"keeps_claim": chance.random() < 0.5}
            case "forget" if chance.random() < 0.3:
                self._running.pop(journal, None)
                return "forget", (journal,), {}
            case "listed":
                return "listed", (chance.choice("ab"),), {}
        return "opening", (journal,), {}

    def signs(self) -> list[str]:
        """All that are written."""
        return list(self._running)

    def _opening(self, number: int) -> Opening:
        chance = self._random
        claim = Claim(chance.choice("xyz"), "same") if chance.random() < 0.5 else None
        journal = f"journal-{number}"
        self._begun.append(journal)
        self._running[journal] = 0
        return Opening(journal, chance.choice("ab"), "request", number / 2, chance.randbytes(20), claim)


@pytest.mark.parametrize(
    ("seed", "steps"), [(0, 60), *(pytest.param(seed, 400, marks=pytest.mark.long) for seed in (1, 2))]
)
async def test_they_answer_alike(seed: int, steps: int) -> None:
    """Pieces, pages, refusals, what made room for what, and when it goes."""
    async with AsyncExitStack() as stack:
        keepers: dict[str, Keeper] = {}
        for name, making in KEEPERS.items():
            keepers[name] = await stack.enter_async_context(making(SMALL))
        asking, chance = Asking(seed), Random(seed)
        for number in range(steps):
            passes = chance.choice((0.01, 0.01, 0.5, 4.0))
            for keeper in keepers.values():
                keeper.clock.now += passes
            for journal in asking.signs():
                seen = {name: await told(keeper.journals.write(journal)) for name, keeper in keepers.items()}
                assert len({repr(answer) for answer in seen.values()}) == 1, (number, journal, seen)
            method, words, choices = asking.asked(number)
            answers = {
                name: await told(getattr(keeper.journals, method)(*words, **choices))
                for name, keeper in keepers.items()
            }
            assert answers["memory"] == answers["parent"] == answers["redis"], (number, method, words, answers)
