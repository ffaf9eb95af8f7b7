"""What a proxy in front tells, whose request it is and under which path, and what a page behind it may read."""

from __future__ import annotations

import pytest

from mlops_backend.middleware.access import TABLE
from mlops_backend.setting_addresses import OWN_PATHS
from tests.conftest import ServeFactory
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama
from tests.service import ADMIN_KEY, ORDINARY_KEY

BODY = {"prompt": "Hi"}


@pytest.mark.parametrize("written", ["203.0.113.{}:50123", "[2001:db8:{}::1]:443", "[2001:db8:{}::1]", "203.0.113.{}"])
async def test_a_guesser_locks_out_nobody_else(serve: ServeFactory, fake: FakeOllama, written: str) -> None:
    """Who guesses keys behind a proxy has to wait; its neighbours need not, however the proxy writes addresses."""
    settings = {"trusted_proxies": "127.0.0.1", "auth_failure_limit": "2/hour", "api_keys": "short:guessable"}
    async with serve(fake.url, **settings) as service:

        async def status(who: int, key: str) -> int:
            headers = {"X-API-Key": key, "X-Forwarded-For": written.format(who)}
            return (await service.stranger.get("/api/tags", headers=headers)).status_code

        assert [await status(7, f"no{number}") for number in range(3)] == [401, 401, 429]
        assert (await status(7, "guessable"), await status(8, "guessable")) == (429, 200)


@pytest.mark.parametrize("left_in", [True, False], ids=["left in", "taken out"])
async def test_a_proxys_path_stands_in_every_address(serve: ServeFactory, fake: FakeOllama, left_in: bool) -> None:
    """With `ROOT_PATH` addresses are those of the proxy's clients, whether it leaves its path in requests or not."""
    async with serve(fake.url, root_path="/llm/", key_in_url=True) as service:
        base = "/llm" if left_in else ""
        admin, post = {"X-API-Key": ADMIN_KEY}, service.client.post
        ticket = await post(f"{base}/api/llm/streams", json=BODY)
        address = ticket.json()["url"]
        assert address == ticket.headers["location"] == f"/llm/api/llm/streams/{ticket.json()['id']}"
        links = (await service.client.get(f"{base}/", headers={"Accept": "application/json"})).json()["links"]
        key = await post(f"{base}/api/admin/keys", json={"name": "a"}, headers=admin)
        conversation = await post(f"{base}/api/database/conversations", json={})
        for path in (*links.values(), key.headers["location"], conversation.headers["location"]):
            assert path.startswith("/llm/")
            asked = path if left_in else path.removeprefix("/llm")
            headers = admin if "/admin/" in path else {}
            assert (await service.client.get(asked, headers=headers)).status_code == (405 if "stream" in path else 200)
        streamed = await service.stranger.get(address if left_in else address.removeprefix("/llm"))
        assert (streamed.status_code, streamed.text.count("data:")) == (200, len(DEFAULT_WORDS) + 1)
        assert (await service.stranger.get(f"{base}/k/{ORDINARY_KEY}/")).text == "Ollama is running"


@pytest.mark.parametrize("path", ["/llm", "/llm/"])
async def test_a_proxys_path_alone_is_the_root(serve: ServeFactory, fake: FakeOllama, path: str) -> None:
    """What stands behind the path is the service's own path, and nothing is its root."""
    async with serve(fake.url, root_path="/llm") as service:
        assert (await service.client.get(path)).text == "Ollama is running"
        for other in ("/llmx/api/tags", "/x/llm/api/tags", "/llm/llm/api/tags", "/LLM/api/tags"):
            assert (await service.client.get(other)).status_code == 404


async def test_a_proxys_path_keeps_no_rule_out(serve: ServeFactory, fake: FakeOllama) -> None:
    """Under it keys are asked for, bodies have their limits, keys in paths are not logged."""
    async with serve(fake.url, root_path="/llm", max_body_bytes=100) as service:
        assert (await service.stranger.get("/llm/api/tags")).status_code == 401
        assert (await service.client.get("/llm/api/admin/keys")).status_code == 403
        assert (await service.client.post("/llm/api/llm/generate", content=b"x" * 101)).status_code == 413
        assert (await service.client.get("/llm//api/tags")).status_code == 404
        assert (await service.client.get(f"/llm/k/{ORDINARY_KEY}/api/tags")).status_code == 404


def test_a_proxys_path_is_none_of_our_own() -> None:
    """A path that begins as one of the service's own would be cut from it, so it stops the start."""
    ours = {path.split("/")[1] for path in TABLE if path != "/"}
    assert ours | {"k"} == OWN_PATHS


SAFE = {"cache-control", "content-language", "content-length", "content-type", "expires", "last-modified", "pragma"}
# What a browser, a cache or a connection acts upon, and a page has no use for.
NOT_FOR_PAGES = {
    *("accept-ranges", "allow", "connection", "content-security-policy", "date", "server", "transfer-encoding", "vary"),
    *("www-authenticate", "x-accel-buffering", "x-content-type-options"),
}


async def test_a_page_sees_every_header_that_is_meant_for_it(serve: ServeFactory, fake: FakeOllama) -> None:
    """Whatever field an answer has, a page of another origin may read it, unless it is for the browser alone."""
    limits = {"requests": "9/hour", "tokens_per_day": 1000}
    async with serve(fake.url, allowed_origins="https://App.example:443", auth_failure_limit="1/hour") as service:
        service.client.headers["Origin"] = service.stranger.headers["Origin"] = "https://app.example"
        admin, call = {"X-API-Key": ADMIN_KEY}, service.client.request
        made = await call("POST", "/api/admin/keys", json={"name": "a", "limits": limits}, headers=admin)
        limited = {"X-API-Key": made.json()["key"]}
        never = {**BODY, "prompt": "word " * 2000}
        chat = await call("POST", "/api/database/conversations", json={})
        turn = {"content": "Hi", "stream": False}
        answers = [
            made,
            chat,
            await call("POST", f"{chat.headers['location']}/messages", json=turn, headers=limited | admin),
            await call("POST", f"{chat.headers['location']}/messages", json=turn),
            await call("GET", f"{chat.headers['location']}/export"),
            await call("GET", "/api/usage/export"),
            await call("POST", "/api/llm/streams", json=BODY, headers=limited),
            await call("POST", "/api/llm/stream", json=BODY, headers=limited),
            await call("POST", "/v1/chat/completions", json={"messages": [{"role": "user", "content": "Hi"}]}),
            await call("POST", "/api/generate", json=never, headers=limited),
            await call("DELETE", "/api/llm/stream"),
            *[await service.stranger.get("/api/tags", headers={"X-API-Key": "no"}) for _ in range(2)],
            await service.stranger.get("/docs/assets/swagger-ui.css"),
        ]
    seen = {name for answer in answers for name in answer.headers if not name.startswith("access-control-")}
    for answer in answers:
        exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
        assert seen - SAFE - NOT_FOR_PAGES <= exposed
    assert {"x-should-retry", "content-disposition", "retry-after", "ratelimit", "location", "etag"} <= seen
