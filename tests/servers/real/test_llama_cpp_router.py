"""llama.cpp's server in router mode, asked directly and through the service."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from tests.e2e.wire import exchange
from tests.servers.real.asking import KEY, Pair, cases_of, check
from tests.servers.real.case import get, post
from tests.servers.real.kinds import LLAMA_CPP_ROUTER
from tests.servers.real.llama_cpp_router import ALIAS, OTHER
from tests.servers.real.right import Said
from tests.servers.real.table import Table
from tests.servers.real.values import QUESTION

SERVER: Final = LLAMA_CPP_ROUTER
pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]


async def _loaded(pair: Pair) -> list[dict[str, Any]]:
    answer = await exchange(pair.service, get("/api/ps").asked_of(pair.model), KEY)
    models: list[dict[str, Any]] = json.loads(answer.body)["models"]
    return models


async def test_only_what_is_loaded_runs(pair: Pair) -> None:
    """Nothing at first, then the model that was asked for last, since one has room; an alias is a name of its model."""
    assert await _loaded(pair) == []
    for asked, name in ((OTHER, OTHER), (ALIAS, "tiny")):
        body = {"model": asked, "messages": QUESTION, "stream": False}
        assert Said()(await exchange(pair.service, post("/api/chat", body).asked_of(pair.model), KEY)) == ""
        assert [model["name"] for model in await _loaded(pair)] == [name]


async def test_an_alias_is_shown(pair: Pair) -> None:
    """As its model is."""
    for name in (pair.model, ALIAS):
        answer = await exchange(pair.service, post("/api/show", {"model": name}).asked_of(pair.model), KEY)
        assert json.loads(answer.body)["model_info"]["general.basename"] == pair.model


@cases_of(SERVER)
async def test_answers(pair: Pair, name: str, table: Table) -> None:
    """A native answer is the server's own, a translated one is right by Ollama's rules."""
    await check(pair, name, table)
