"""Real servers, asked directly and through the service: the same on OpenAI's routes, right on Ollama's.

Answers are compared but for ids and times. A difference that is meant has its reason in `differences`; one that has
none, or a reason that is needed no more, fails.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from typing import Final

import pytest

from tests.e2e.wire import Answer, Headers, Request, exchange
from tests.servers.equal import difference, told
from tests.servers.real import native, translated
from tests.servers.real.differences import reason
from tests.servers.real.kinds import Server
from tests.servers.real.table import Table
from tests.service import ORDINARY_KEY

CASES: Final = {**native.CASES, **translated.CASES}
_AGAIN: Final = 2
_LATE: Final = " (when asked again)"
# Where a text, a thought or a call came otherwise.
_TEXT: Final = re.compile(r"(content|text|thinking|reasoning|calls|arguments)\b")
KEY: Final = (("X-API-Key", ORDINARY_KEY),)


@dataclass(frozen=True)
class Pair:
    """A running server, and the service before it."""

    server: Server
    model: str
    url: str
    service: str


def cases_of(server: Server) -> pytest.MarkDecorator:
    """Each case that makes sense for a server."""
    return pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.needs <= server.has])


async def check(pair: Pair, name: str, table: Table) -> None:
    """Ask, and keep what came of it; what is wrong without a reason fails.

    A busy server joins tokens, and some then err about what they joined: a text that differs is asked for again, and
    the table says so.
    """
    server, why = pair.server.name, reason(pair.server.name, name)
    table.note(server, name, "differs: it ended")
    fine, wrong = await asked(pair, name)
    for _ in range(0 if why else _AGAIN):
        if not wrong or not _TEXT.search(wrong):
            break
        fine, wrong = await asked(pair, name)
        fine = f"{fine.removesuffix(_LATE)}{_LATE}"
    table.note(server, name, f"differs: {why or wrong}" if wrong else fine)
    assert bool(why) == bool(wrong), wrong or f"the difference has gone: {why}"


async def _answer(url: str, request: Request, headers: Headers = ()) -> Answer:
    """What is answered; an answer that breaks off has no status."""
    try:
        return await exchange(url, request, headers)
    except (asyncio.IncompleteReadError, ConnectionError):
        return Answer(0, (), b"")


def at(server: Server, request: Request) -> Request:
    """A request, where a server has its routes."""
    return replace(request, target=request.target.removeprefix("/v1")) if server.root else request


async def asked(pair: Pair, name: str) -> tuple[str, str]:
    """What it is called when nothing is wrong, and what is wrong."""
    case = CASES[name]
    for before in case.before:
        await exchange(pair.service, before.asked_of(pair.model), KEY)
    right = pair.server.rights.get(name, case.right)
    through = await _answer(pair.service, case.asked_of(pair.model), KEY)
    if right is not None:
        return "translated right" if through.status == 200 else "refused rightly", right(through)
    direct = await _answer(pair.url, at(pair.server, case.asked_of(pair.model)))
    wrong = difference(told(direct, pair.model), told(through, pair.model))
    return "same" if direct.status == 200 else "refused as the server refuses", wrong
