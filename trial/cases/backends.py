"""Hostile backends: answers without an end, of the wrong shape, or cut."""

import asyncio
from collections.abc import Awaitable, Callable

from trial.case import GENERATE, Case, Scene, several
from trial.ledger import outcomes_of
from trial.wire import Answer

STREAM = "/api/llm/stream"
CHAT = "/api/llm/chat"
WITHIN = 12.0
FIRST = 3.0
WATCHED = 4.0
ROWS = 3.0
MOST_BUSY = 50.0
MESSAGES = [{"role": "user", "content": "Why?"}]


def ended_badly(answer: Answer) -> bool:
    """Whether a generation ended, and told its client that it failed."""
    return answer.whole and (answer.status >= 500 or "error" in answer.last)


def ended(answer: Answer) -> bool:
    """Whether a generation ended, well or with an error, and not in silence."""
    return ended_badly(answer) or (answer.whole and answer.status == 200 and bool(answer.last.get("done")))


def endless(model: str) -> Callable[[Scene], Awaitable[None]]:
    """Return the case of a backend whose answer has no end in this way."""

    async def play(scene: Scene) -> None:
        asked = [scene.generate(model, path, seconds=WITHIN) for path in (STREAM, STREAM, GENERATE)]
        asking = asyncio.gather(*asked)
        await asyncio.sleep(FIRST)
        busy = await scene.busy(WATCHED)
        answers = await asking
        slowest = max(answer.seconds for answer in answers)
        seen = f"{several(answers)}, after {slowest:.1f} s"
        scene.check("3 generations end with an error", seen, all(ended_badly(answer) for answer in answers))
        scene.check(f"< {MOST_BUSY:.0f} % of a core after {FIRST:.0f} s", f"{busy:.0f} %", busy < MOST_BUSY)

    return play


async def several_lines(scene: Scene) -> None:
    """A backend answers a stream where one object was asked for."""
    whole = await scene.generate("several-lines")
    answers = [whole, await scene.generate("several-lines", CHAT, messages=MESSAGES, stream=False)]
    names = sorted(scene.ids.sent)
    scene.check("the client gets 502", several(answers), {answer.status for answer in answers} == {502})
    outcomes = await _outcomes(scene, names)
    seen = ", ".join(outcomes.get(name, "no row") for name in names)
    scene.check("the ledger says error", seen, all(outcomes.get(name) == "error" for name in names))


async def _outcomes(scene: Scene, names: list[str]) -> dict[str, str]:
    """What the ledger says of these, once it has a row of each; what it has after some seconds, if it has not."""
    deadline = asyncio.get_running_loop().time() + ROWS
    while True:
        outcomes = outcomes_of(scene.service.database, names)
        if len(outcomes) == len(names) or asyncio.get_running_loop().time() > deadline:
            return outcomes
        await asyncio.sleep(0.2)


async def closes(scene: Scene) -> None:
    """A backend closes at random points."""
    room = asyncio.Semaphore(6)

    async def one(path: str) -> Answer:
        async with room:
            if path != CHAT:
                return await scene.generate("closes", path)
            return await scene.generate("closes", path, messages=MESSAGES, stream=scene.rng.random() < 0.5)

    answers = list(await asyncio.gather(*(one(path) for _ in range(40) for path in (GENERATE, STREAM, CHAT))))
    silent = [answer for answer in answers if not ended(answer)]
    seen = f"{several(answers)}, {len(silent)} silent"
    scene.check("120 generations end, none in silence or after 10 s", seen, not silent)


CASES = (
    Case("endless-line", "a first line without an end", endless("endless-line"), 30),
    Case("endless-1xx", "interim answers without an end", endless("endless-informational"), 30),
    Case("endless-extension", "a chunk extension without an end", endless("endless-extension"), 30),
    Case("endless-header", "a header without an end", endless("endless-header"), 30),
    Case("endless-headers", "headers without an end", endless("endless-headers"), 30),
    Case("several-lines", "a stream where one object was asked for", several_lines, in_ci=True),
    Case("backend-closes", "the backend closes at random points", closes, 30),
)
