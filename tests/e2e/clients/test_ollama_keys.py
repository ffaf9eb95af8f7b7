"""The client library `ollama` and the service's keys, the models' abilities, and streams that break off."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import ollama
import pytest
import pytest_asyncio

from tests.conftest import ServeFactory
from tests.e2e.clients.clients import CALLED, MESSAGES, SENTENCE, TOOL, Caller, Faked, calling
from tests.fakes.http11 import Connection, Request
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.fakes.ollama_errors import plain_json
from tests.service import ADMIN_KEY, ORDINARY_KEY

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("no_clients_settings", "faked")]
CLIENTS = [ollama.Client, ollama.AsyncClient]
BOTH = pytest.mark.parametrize("client", CLIENTS, ids=["sync", "async"])
BASIC = base64.b64encode(f"somebody:{ORDINARY_KEY}".encode()).decode()
HEADERS = {
    "x-api-key": {"X-API-Key": ORDINARY_KEY},
    "bearer": {"Authorization": f"Bearer {ORDINARY_KEY}"},
    "basic": {"Authorization": f"Basic {BASIC}"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=CLIENTS, ids=["sync", "async"])
async def call(request: pytest.FixtureRequest, faked_for_module: Faked) -> AsyncIterator[Caller]:
    """A client with an ordinary key."""
    async with calling(request.param(faked_for_module.service.url, headers=HEADERS["bearer"])) as call:
        yield call


@BOTH
@pytest.mark.parametrize("headers", HEADERS)
async def test_headers(faked: Faked, client: Any, headers: str) -> None:
    """A key is taken from each of the headers, and none of them reaches the backend."""
    async with calling(client(faked.service.url, headers=HEADERS[headers])) as call:
        assert (await call("generate", "llama3", SENTENCE)).response == "".join(DEFAULT_WORDS)
    asked = faked.fake.requests[-1]
    assert (asked.header("authorization"), asked.header("x-api-key")) == (None, None)


@BOTH
async def test_environment(faked: Faked, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """OLLAMA_HOST and OLLAMA_API_KEY are enough."""
    monkeypatch.setenv("OLLAMA_HOST", faked.service.url)
    monkeypatch.setenv("OLLAMA_API_KEY", ORDINARY_KEY)
    async with calling(client()) as call:
        assert (await call("list")).models


@BOTH
async def test_key_in_the_address(
    serve: ServeFactory, faked: Faked, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With KEY_IN_URL the address alone is enough, and the backend never sees the key in it."""
    async with serve(faked.fake.url, key_in_url=True) as service:
        monkeypatch.setenv("OLLAMA_HOST", f"{service.url}/k/{ORDINARY_KEY}")
        async with calling(client()) as call:
            assert (await call("chat", "llama3", MESSAGES, stream=True))[-1].done
    assert ORDINARY_KEY not in repr([(asked.path, asked.headers) for asked in faked.fake.requests])


@BOTH
async def test_keys_are_not_in_addresses_by_default(faked: Faked, client: Any) -> None:
    """Without KEY_IN_URL such an address is an unknown one."""
    async with calling(client(f"{faked.service.url}/k/{ORDINARY_KEY}")) as call:
        with pytest.raises(ollama.ResponseError) as caught:
            await call("list")
    assert caught.value.status_code == 401


@BOTH
@pytest.mark.parametrize(
    ("headers", "sentence"),
    [({}, "An API key is needed"), ({"Authorization": "Bearer wrong"}, "The API key is not known.")],
    ids=["none", "wrong"],
)
async def test_strangers_are_refused(faked: Faked, client: Any, headers: dict[str, str], sentence: str) -> None:
    """Without a known key a call is refused, streamed or not; `user:key@host` is no key, the client leaves it out."""
    host = faked.service.url.replace("://", f"://user:{ORDINARY_KEY}@")
    async with calling(client(host, headers=headers)) as call:
        for stream in (False, True):
            with pytest.raises(ollama.ResponseError, match=sentence) as caught:
                await call("generate", "llama3", SENTENCE, stream=stream)
            assert caught.value.status_code == 401
    assert not faked.fake.requests


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_and_thoughts(call: Caller, faked: Faked, stream: bool) -> None:
    """Calls of tools and thoughts arrive as Ollama tells them."""
    faked.fake.thinking, faked.fake.tool_calls = "It may rain.", (CALLED,)
    answer = await call("chat", "llama3", MESSAGES, tools=[TOOL], think=True, stream=stream)
    parts = answer if stream else [answer]
    (called,) = [each for part in parts for each in part.message.tool_calls or ()]
    assert (called.function.name, called.function.arguments) == ("weather", {"city": "Bern"})
    assert "".join(part.message.thinking or "" for part in parts) == "It may rain."
    assert faked.fake.requests[-1].json()["tools"][0]["function"]["name"] == "weather"


@pytest.mark.parametrize("mode", [Mode.ERROR_MID_STREAM, Mode.CUT_MID_STREAM, Mode.HANG_MID_STREAM, Mode.NO_DONE])
async def test_broken_streams_raise(call: Caller, faked: Faked, mode: Mode) -> None:
    """A stream that breaks off is an error, never a silent end."""
    faked.fake.mode = mode
    with pytest.raises(ollama.ResponseError) as caught:
        await call("chat", "llama3", MESSAGES, stream=True)
    assert caught.value.error


@pytest.mark.parametrize("method", ["embed", "embeddings", "show"])
async def test_unknown_models(call: Caller, method: str) -> None:
    """A model that is not there is refused with the backend's own sentence."""
    with pytest.raises(ollama.ResponseError, match=r"model .nobody. not found") as caught:
        await call(method, "nobody")
    assert caught.value.status_code == 404


class NextOllama(FakeOllama):
    """An Ollama with a route that this service does not know."""

    async def answer(self, connection: Connection, request: Request) -> None:
        """Answer `/v1/systemone`."""
        answers = {"rain": {"type": "noul", "noul": 0.75}}
        usage = {"input_tokens": 7, "output_tokens": 1}
        await connection.send(
            plain_json({"model": json.loads(request.body)["model"], "answers": answers, "usage": usage})
            if request.path == "/v1/systemone"
            else plain_json({"models": []})
        )


@BOTH
@pytest.mark.parametrize("routes", ["", "POST /v1/systemone"], ids=["unknown", "let-through"])
async def test_routes_that_are_let_through(serve: ServeFactory, client: Any, routes: str) -> None:
    """`systemone` works when PASSTHROUGH_ROUTES names its route, and is an unknown route else."""
    questions = {"rain": {"type": "noul", "instructions": "Does it rain?"}}
    async with (
        NextOllama() as backend,
        serve(backend.url, passthrough_routes=routes) as service,
        calling(client(service.url, headers=HEADERS["bearer"])) as call,
    ):
        if routes:
            answer = await call("systemone", "llama3", "Clouds.", questions)
            assert answer.answers["rain"].noul == 0.75
        else:
            with pytest.raises(ollama.ResponseError) as caught:
                await call("systemone", "llama3", "Clouds.", questions)
            assert caught.value.status_code == 404


@BOTH
async def test_web_search_leaves_the_service_aside(faked: Faked, client: Any) -> None:
    """`web_search` and `web_fetch` of this client go to ollama.com itself, whatever the host, and the key with them."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(401, json={"error": "unauthorized"})

    mounts = {"https://ollama.com": httpx.MockTransport(answer)}
    async with calling(client(faked.service.url, headers=HEADERS["bearer"], mounts=mounts)) as call:
        for method in ("web_search", "web_fetch"):
            with pytest.raises(ollama.ResponseError, match="unauthorized"):
                await call(method, "ollama")
    assert [request.url.host for request in asked] == ["ollama.com"] * 2
    assert {request.headers["authorization"] for request in asked} == {f"Bearer {ORDINARY_KEY}"}
    assert not faked.fake.requests


@pytest.mark.parametrize("key", [ADMIN_KEY, ORDINARY_KEY])
@pytest.mark.parametrize("route", ["web_search", "web_fetch"])
async def test_web_search_is_refused(faked: Faked, route: str, key: str) -> None:
    """The routes by which Ollama's command line searches act as the server's owner, and are closed to every key."""
    headers = {"X-API-Key": key}
    answer = await faked.service.stranger.post(f"/api/experimental/{route}", json={"query": "ollama"}, headers=headers)
    assert answer.status_code == 403
    assert "ALLOW_ACCOUNT_ROUTES" in answer.json()["error"]
    assert not faked.fake.requests
