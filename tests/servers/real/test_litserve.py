"""LitServe, asked directly and through the service."""

from __future__ import annotations

import json
from typing import Final

import pytest

from tests.e2e.wire import exchange
from tests.servers.equal import events
from tests.servers.real.asking import KEY, Pair, cases_of, check
from tests.servers.real.case import post
from tests.servers.real.killing import ASKED
from tests.servers.real.small import LITSERVE
from tests.servers.real.table import Table

SERVER: Final = LITSERVE
pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]


@cases_of(SERVER)
async def test_answers(pair: Pair, name: str, table: Table) -> None:
    """A native answer is the server's own, a translated one is right by Ollama's rules."""
    await check(pair, name, table)


async def test_an_answer_that_fails_in_its_middle(pair: Pair) -> None:
    """Its error has no empty line behind it, without which most readers drop it: the service adds it."""
    native = post("/v1/chat/completions", ASKED).asked_of(pair.model)
    direct, through = await exchange(pair.url, native), await exchange(pair.service, native, KEY)
    assert not direct.body.endswith(b"\n")
    assert through.body.endswith(b"\n\n")
    assert list(events(through.body))[-1] == list(events(direct.body))[-1]
    translated = await exchange(pair.service, post("/api/chat", ASKED).asked_of(pair.model), KEY)
    assert json.loads(translated.body.splitlines()[-1])["error"] == "Internal Server Error"
