"""Each proxy of the documentation's page, with the page's configuration, over HTTP/1.1 and HTTP/2 in front."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from tests.e2e.proxies import PROXIES, VERSIONS, Front, fronted, in_clear
from tests.e2e.server_process import KEY, serving_process
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service, serving, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")
# One of them stands for all in each run.
ONE_AND_ALL = [name if name == "nginx" else pytest.param(name, marks=pytest.mark.long) for name in PROXIES]
in_front = pytest.mark.parametrize("version", VERSIONS)

STREAM: Final = "/api/llm/stream"
POST: Final = ("-H", f"X-API-Key: {ORDINARY_KEY}", "-H", "Content-Type: application/json", "-d", '{"prompt": "Hi"}')
# Where a service that is killed amid a stream looks like a whole answer; the page's sentence names them.
LOOKS_WHOLE: Final = {("caddy", "2.6", "http1.1"), ("caddy", "2.6", "http2"), ("haproxy", "2.6", "http2")}
# It tells nobody that a client has left until there is something to send; the page says so.
WAITS_FOR_A_TOKEN: Final = {"apache"}
# Their files in `deploy` keep the numbers inside.
KEEPS_METRICS: Final = {"nginx", "caddy"}


@dataclass(frozen=True, slots=True)
class Stand:
    """A proxy, the service behind it, and the service's backend."""

    name: str
    front: Front
    service: Service
    fake: FakeOllama


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ONE_AND_ALL)
async def stand(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    """All three, for the tests of one proxy."""
    proxy, folder = PROXIES[request.param], tmp_path_factory.mktemp(request.param)
    proxy.find()
    async with FakeOllama() as fake:
        database = f"sqlite:///{folder}/test.db"
        chosen = settings_for(fake.url, trusted_proxies="127.0.0.1", max_body_bytes=2**20, database_url=database)
        async with (
            serving(chosen) as service,
            fronted(folder, proxy, service.url.removeprefix("http://")) as front,
        ):
            yield Stand(request.param, front, service, fake)


async def until_all_is_said(fake: FakeOllama, front: Front, version: str) -> list[float]:
    """The seconds that each token takes from the backend to the client; the next one is made when it is there."""
    fake.mode, fake.words, took = Mode.NORMAL, DEFAULT_WORDS, []
    fake.hold()
    async with front.curl(version, STREAM, *POST) as curl:
        await fake.wait_for_request("/api/generate")
        for word in DEFAULT_WORDS:
            released = time.monotonic()
            fake.release(1)
            assert json.loads(await curl.line())["response"] == word
            took.append(time.monotonic() - released)
        fake.release()
        rest, code = await curl.rest()
    assert (json.loads(rest)["done"], code) == (True, 0)
    return took


@in_front
async def test_tokens_come_one_by_one(stand: Stand, version: str) -> None:
    """Each token arrives before the next is made, and at once: who waits for more takes a fifth of a second."""
    took = await until_all_is_said(stand.fake, stand.front, version)
    assert median(took) < 0.15, took


@pytest.mark.long
async def test_haproxy_waits_for_nothing_in_clear(tmp_path: Path) -> None:
    """Without TLS, too: there it is the line `option http-no-delay` that lets each token out."""
    PROXIES["haproxy"].find()
    async with (
        FakeOllama() as fake,
        serving(settings_for(fake.url)) as service,
        fronted(tmp_path, PROXIES["haproxy"], service.url.removeprefix("http://"), in_clear) as front,
    ):
        took = await until_all_is_said(fake, front, "http1.1")
    assert median(took) < 0.15, took


@in_front
@pytest.mark.parametrize("mode", [Mode.SLOW_TOKENS, Mode.HANG_MID_STREAM], ids=["while it talks", "while it is silent"])
async def test_leaving_is_seen_at_the_backend(stand: Stand, version: str, mode: Mode) -> None:
    """A client that goes amid a stream frees the backend, within a fifth of a second on a machine that has time."""
    fake, waited = stand.fake, []
    if mode is Mode.HANG_MID_STREAM and stand.name in WAITS_FOR_A_TOKEN:
        pytest.skip("the page says that it does not: it looks at its client only when it has something to send")
    fake.mode, fake.words = mode, ("word ",) * 200
    for _ in range(3):
        async with stand.front.curl(version, STREAM, *POST) as curl:
            await curl.line()
            left = await curl.leave()
            gone = await fake.wait_for_disconnect()
        assert gone.disconnected_at is not None
        waited.append(gone.disconnected_at - left)
    assert min(waited) <= 0.2, waited


@in_front
@pytest.mark.parametrize(("key", "told", "code"), [("no", 401, "unauthorized"), (ORDINARY_KEY, 413, "body_too_large")])
async def test_refusals_come_whole(stand: Stand, version: str, key: str, told: int, code: str, tmp_path: Path) -> None:
    """A body that is refused before it is all there gets our own answer, and all of it; nothing of it is left over."""
    body = tmp_path / "body"
    body.write_bytes(b'{"prompt": "' + b"x" * 4 * 2**20 + b'"}')
    headers = ("-H", f"X-API-Key: {key}", "-H", "Content-Type: application/json", "-H", "Expect:")
    # As fast as it can, curl 7.88 with HTTP/2 may overlook an answer that comes while it sends.
    slowly = ("--limit-rate", "16M", "--data-binary", f"@{body}")
    for _ in range(4):
        answer, status, ended = await stand.front.asked(version, STREAM, *headers, *slowly)
        assert (json.loads(answer)["code"], status, ended) == (code, f"{version[4:]} {told}", 0)


@in_front
async def test_the_client_is_known(stand: Stand, version: str) -> None:
    """The log has the client's own address, and not what it says of itself."""
    with capture_logs() as logs:
        told = ("--interface", "127.0.0.2", "-H", "X-Forwarded-For: 6.6.6.6", "-H", f"X-API-Key: {ORDINARY_KEY}")
        assert (await stand.front.asked(version, "/api/tags", *told))[1] == f"{version[4:]} 200"
        await stand.service.client.get("/health")
    assert [entry["client"] for entry in logs if entry.get("route") == "/api/tags"] == ["127.0.0.2"]


async def test_metrics_stay_inside(stand: Stand) -> None:
    """The files of `deploy` let nobody at `/metrics`, whatever the key."""
    if stand.name not in KEEPS_METRICS:
        pytest.skip("the page's block leaves `/metrics` to the service's own key")
    _, status, _ = await stand.front.asked("http2", "/metrics", "-H", f"X-API-Key: {ADMIN_KEY}")
    assert status == "2 404"


@in_front
async def test_names_with_slashes_arrive(stand: Stand, version: str) -> None:
    """A model's name that has a slash in it, encoded as SDKs do, is the same name behind the proxy."""
    name = "/v1/models/library%2Fllama3"
    direct = await stand.service.client.get(name)
    answer, status, _ = await stand.front.asked(version, name, "-H", f"X-API-Key: {ORDINARY_KEY}")
    assert (status, answer) == (f"{version[4:]} {direct.status_code}", direct.text)


@pytest.mark.parametrize("name", ONE_AND_ALL)
async def test_a_killed_service_is_a_cut(name: str, tmp_path: Path) -> None:
    """A client sees that a stream is not whole when the service is killed, but for the proxies that the page names."""
    proxy = PROXIES[name]
    release = ".".join(proxy.release().split(".")[:2])
    request = ("-H", f"X-API-Key: {KEY}", *POST[2:])
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(FakeOllama(mode=Mode.HANG_MID_STREAM))
        process = await stack.enter_async_context(serving_process(tmp_path, fake.url))
        front = await stack.enter_async_context(fronted(tmp_path, proxy, process.url.removeprefix("http://")))
        streams = [await stack.enter_async_context(front.curl(version, STREAM, *request)) for version in VERSIONS]
        for stream in streams:
            assert json.loads(await stream.line())["response"] == DEFAULT_WORDS[0]
        process.signal(signal.SIGKILL)
        ends = [await stream.rest() for stream in streams]
    assert not any("done_reason" in rest for rest, _ in ends)
    looked_whole = {version for version, (_, code) in zip(VERSIONS, ends, strict=True) if code == 0}
    assert looked_whole == {version for version in VERSIONS if (name, release, version) in LOOKS_WHOLE}
