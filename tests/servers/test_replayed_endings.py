"""How real servers ended a stream that failed in its middle, replayed: its client and the ledger learn of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio

from tests.e2e.wire import Answer, exchange
from tests.servers.equal import events
from tests.servers.real.asking import KEY
from tests.servers.real.case import post
from tests.servers.real.killing import ASKED
from tests.servers.replayed import ReplayedServer
from tests.servers.replies import Replies
from tests.service import Service, serving, settings_for

_NATIVE: Final = "/v1/chat/completions"
_USAGE: Final = {"stream_options": {"include_usage": True}}
# A router whose worker was killed sends `[DONE]` behind its error; LitServe sends no empty line behind its own.
_SAID: Final = {"smg_1_13_0": "unexpected EOF", "litserve_0_2_19": "Internal Server Error"}


@pytest_asyncio.fixture(name="server", params=_SAID)
async def _server(request: pytest.FixtureRequest) -> AsyncIterator[ReplayedServer]:
    async with ReplayedServer(replies=Replies.read(request.param)) as fake:
        yield fake


@pytest.fixture(name="said")
def _said(request: pytest.FixtureRequest) -> str:
    return _SAID[request.node.callspec.params["server"]]


@pytest_asyncio.fixture(name="service")
async def _service(server: ReplayedServer) -> AsyncIterator[Service]:
    async with serving(settings_for(openai_backends=f"{server.url} model={server.replies.model}")) as service:
        yield service


async def _asked(url: str, path: str, model: str) -> Answer:
    return await exchange(url, post(path, {**ASKED, **_USAGE}).asked_of(model), KEY)


async def _outcome(service: Service, answer: Answer) -> str:
    row = await service.client.get(f"{service.url}/api/usage/generations/{answer.header('x-request-id')}")
    return str(row.json()["outcome"])


async def test_a_native_stream_ends_with_the_servers_error(server: ReplayedServer, service: Service, said: str) -> None:
    """As it came, but with the empty line that a reader needs; the ledger says that it failed."""
    direct, through = [await _asked(url, _NATIVE, server.replies.model) for url in (server.url, service.url)]
    assert through.body == direct.body.rstrip(b"\n") + b"\n\n"
    told = [event["data"] for event in events(through.body) if event["data"] != "[DONE]"]
    assert said in told[-1]["error"]["message"]
    assert await _outcome(service, through) == "error"


async def test_a_translated_stream_ends_with_the_servers_words(
    server: ReplayedServer, service: Service, said: str
) -> None:
    """In a line of their own, and none says that all is done."""
    answer = await _asked(service.url, "/api/chat", server.replies.model)
    *lines, last = [json.loads(line) for line in answer.body.splitlines()]
    assert said in last["error"]
    assert not any(line["done"] for line in lines)
    assert await _outcome(service, answer) == "error"
