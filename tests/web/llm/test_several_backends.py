"""Several backends behind the drop-in routes: which is asked, what is told when one fails, and how long it takes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest

from mlops_backend.services.llm.backends import look as looks
from mlops_backend.services.llm.backends import pool as routing
from tests.conftest import ServeFactory
from tests.fakes.http11 import Connection, Reply, Request
from tests.fakes.ollama import FakeOllama, Mode
from tests.fakes.openai_server import MODEL, FakeOpenAI
from tests.service import ADMIN_KEY, Service
from tests.web.dialects.drop_in_families import FAMILIES, Family

every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
ADMIN = {"X-API-Key": ADMIN_KEY}
CONNECT_TIMEOUT = 1.0
SOON = 0.5
# Between what was forgotten, a clock of minutes, and a machine that has much else to do.
LATER = 8.0
MANAGING = {
    "/api/show": {"model": "beta"},
    "/api/push": {"model": "beta", "stream": False},
    "/api/copy": {"source": "beta", "destination": "gamma"},
}


@pytest.fixture
async def one() -> AsyncIterator[FakeOllama]:
    """The first backend: `alpha`, and what both have."""
    async with FakeOllama(models=["alpha:latest", "both:latest"], version="0.9.10") as server:
        yield server


@pytest.fixture
async def two() -> AsyncIterator[FakeOllama]:
    """The second backend: `beta`, and what both have."""
    async with FakeOllama(models=["both:latest", "beta:latest"], version="0.9.9") as server:
        yield server


@pytest.fixture
async def service(serve: ServeFactory, one: FakeOllama, two: FakeOllama) -> AsyncIterator[Service]:
    """The service before both."""
    async with serve(one.url, two.url, connect_timeout=CONNECT_TIMEOUT) as running:
        yield running


def asked(fake: FakeOllama | FakeOpenAI) -> list[str]:
    """The paths that a backend was asked, probes apart."""
    paths = [request.path for request in fake.requests]
    return [path for path in paths if path not in ("/api/version", "/api/tags", "/api/ps", "/v1/models")]


async def manage(service: Service, method: str, path: str, body: Any = None, content: bytes = b"") -> httpx.Response:
    """A request with the administrator's key."""
    content = content if body is None else json.dumps(body).encode()
    return await service.client.request(method, path, content=content, headers=ADMIN)


async def generate(service: Service, family: Family, model: str) -> httpx.Response:
    """A streamed generation."""
    return await service.client.post(family.path, json={**family.streamed, "model": model})


LOOKS = ("/api/show", "/v1/models", "/api/status", "/api/chat")


async def look(service: Service, path: str, model: str = "beta") -> httpx.Response:
    """One of four requests that need one backend: two about a model, one about the server, a generation."""
    match path:
        case "/v1/models":
            return await service.client.get(f"{path}/{model}")
        case "/api/status":
            return await service.client.get(path)
    return await service.client.post(path, json={"model": model, "messages": [{"role": "user", "content": "Hi"}]})


async def look_at(service: Service, model: str = "beta") -> list[httpx.Response]:
    """All four."""
    return [await look(service, path, model) for path in LOOKS]


async def seconds(asking: Callable[[], Awaitable[httpx.Response]], status: int, tries: int = 5) -> float:
    """What an answer takes, the shortest of some: a machine seldom does something else for long so often."""
    best = float("inf")
    while best >= SOON and tries:
        begun, tries = time.monotonic(), tries - 1
        assert (await asking()).status_code == status
        best = min(best, time.monotonic() - begun)
    return best


def statuses(answers: Sequence[httpx.Response]) -> set[int]:
    """The statuses of several answers."""
    return {answer.status_code for answer in answers}


async def test_lists_are_merged(service: Service) -> None:
    """`tags`, `ps` and `/v1/models` have every model once, in the backends' order; `version` is the older one."""
    for path in ("/api/tags", "/api/ps"):
        models = (await service.client.get(path)).json()["models"]
        assert [model["name"] for model in models] == ["alpha:latest", "both:latest", "beta:latest"]
    listed = (await service.client.get("/v1/models")).json()["data"]
    assert [model["id"] for model in listed] == ["alpha:latest", "both:latest", "beta:latest"]
    own = (await service.client.get("/api/llm/models")).json()
    assert own["count"] == len(own["models"]) == 3
    assert (await service.client.get("/api/version")).json() == {"version": "0.9.9"}


@pytest.mark.parametrize("name", ["beta", "BETA:latest", "library/beta", "registry.ollama.ai/library/beta:latest"])
@every_family
async def test_a_generation_goes_to_the_holder(
    service: Service, one: FakeOllama, two: FakeOllama, family: Family, name: str
) -> None:
    """Under any of its names a model is asked for where it is, and nowhere else."""
    assert (await generate(service, family, name)).status_code == 200
    assert (asked(one), asked(two)) == ([], [family.path])


async def test_holders_share_what_comes(service: Service, one: FakeOllama, two: FakeOllama) -> None:
    """What begins alike goes where it is cached; what does not is spread, and so is what comes at once."""
    await service.client.get("/api/tags")
    for _ in range(6):
        assert (await generate(service, FAMILIES["chat"], "both")).status_code == 200
    assert sorted((len(asked(one)), len(asked(two)))) == [0, 6]
    for number in range(40):
        body = {"model": "both", "prompt": f"{number} is a number", "stream": False}
        assert (await service.client.post("/api/generate", json=body)).status_code == 200
    assert min(len(asked(one)), len(asked(two))) >= 8
    before = len(asked(one)), len(asked(two))
    one.hold()
    two.hold()
    tasks = [asyncio.create_task(generate(service, FAMILIES["chat"], "both")) for _ in range(10)]
    await one.wait_until(lambda: one.active >= 4)
    await two.wait_until(lambda: two.active >= 4)
    one.release()
    two.release()
    assert {answer.status_code for answer in await asyncio.gather(*tasks)} == {200}
    assert sum((len(asked(one)), len(asked(two)))) == sum(before) + 10


@pytest.mark.parametrize("path", MANAGING)
async def test_a_model_is_managed_where_it_is(service: Service, one: FakeOllama, two: FakeOllama, path: str) -> None:
    """`show`, `push` and `copy` go to the backend that has the model; so does `GET /v1/models/{model}`."""
    assert (await manage(service, "POST", path, MANAGING[path])).status_code == 200
    assert (await service.client.get("/v1/models/beta")).status_code == 200
    assert (asked(one), asked(two)) == ([], [path, "/v1/models/beta"])


async def test_a_copy_is_found_at_once(service: Service, two: FakeOllama) -> None:
    """A model that nobody has listed yet is found where it was made."""
    assert (await manage(service, "POST", "/api/copy", MANAGING["/api/copy"])).status_code == 200
    assert statuses(await look_at(service, "gamma")) == {200}
    assert "gamma:latest" in two.models


async def test_what_is_made_is_made_at_the_first(service: Service, one: FakeOllama, two: FakeOllama) -> None:
    """`pull`, `create` and blobs go to the first backend, even for a model that the other one has."""
    digest = f"sha256:{hashlib.sha256(b'blob').hexdigest()}"
    for path in ("/api/pull", "/api/create"):
        answer = await manage(service, "POST", path, {"model": "beta", "from": "beta", "stream": False})
        assert answer.status_code == 200
    assert (await manage(service, "HEAD", f"/api/blobs/{digest}")).status_code == 404
    assert (await manage(service, "POST", f"/api/blobs/{digest}", content=b"blob")).status_code == 201
    assert (await manage(service, "HEAD", f"/api/blobs/{digest}")).status_code == 200
    assert asked(two) == []
    assert len(asked(one)) == 5


async def test_a_model_of_both_is_deleted_one_after_the_other(
    service: Service, one: FakeOllama, two: FakeOllama
) -> None:
    """`delete` takes the first backend's, the next one the second's; then there is none."""
    for expected, (first, second) in ((200, (1, 2)), (200, (1, 1)), (404, (1, 1))):
        assert (await manage(service, "DELETE", "/api/delete", {"model": "both"})).status_code == expected
        assert (len(one.models), len(two.models)) == (first, second)


@every_family
async def test_a_busy_holder_is_busy(service: Service, one: FakeOllama, two: FakeOllama, family: Family) -> None:
    """That the only backend with the model is busy is a 503 of its own, never a 404 of one that lacks the model."""
    two.mode = Mode.BUSY_503
    answer = await generate(service, family, "beta")
    assert answer.status_code == 503
    family.assert_error(answer.json())
    assert asked(one) == []


@every_family
async def test_busy_holders_are_busy(service: Service, one: FakeOllama, two: FakeOllama, family: Family) -> None:
    """Of two that have the model both are asked; with both busy, or one of them dying meanwhile, it is a 503."""
    await service.client.get("/api/tags")
    one.mode = two.mode = Mode.BUSY_503
    assert (await generate(service, family, "both")).status_code == 503
    assert (asked(one), asked(two)) == ([family.path], [family.path])
    await one.stop()
    answers = [await generate(service, family, "both") for _ in range(2)]
    assert statuses(answers) == {503}
    two.mode = Mode.NORMAL
    assert statuses([await generate(service, family, "both") for _ in range(2)]) == {200}


async def test_busy_counts_more_than_lacking(service: Service, one: FakeOllama, two: FakeOllama) -> None:
    """Of a model that nobody lists one backend may know more: its 503 is told, with a time to try again."""
    one.mode = Mode.BUSY_503
    answer = await generate(service, FAMILIES["chat"], "unlisted")
    assert (answer.status_code, answer.json()["code"]) == (503, "backend_busy")
    assert answer.headers["retry-after"] == "5"
    assert (asked(one), asked(two)) == (["/api/chat"], ["/api/chat"])


async def test_a_model_that_nobody_lists_is_asked_for(service: Service, one: FakeOllama, two: FakeOllama) -> None:
    """The backends are asked themselves; when all of them lack it, it is their 404."""
    answers = await look_at(service, "unlisted")
    assert [answer.status_code for answer in answers] == [404, 404, 200, 404]
    assert answers[0].json() == {"error": "model 'unlisted' not found"}
    assert asked(one) == ["/api/show", "/v1/models/unlisted", "/api/status", "/api/chat"]


async def test_a_dead_holder_is_no_missing_model(service: Service, one: FakeOllama, two: FakeOllama) -> None:
    """A model whose backend has died is not missing, at first and later; when it is back, it is asked again."""
    assert statuses(await look_at(service)) == {200}
    await two.stop()
    for _ in range(2):
        answers = await look_at(service)
        assert [answer.status_code for answer in answers] == [502, 502, 200, 502]
        assert answers[0].json()["code"] == "backend_refused"
        await service.client.get("/api/tags")
    assert set(asked(one)) <= {"/api/status"}
    await two.start()
    async with asyncio.timeout(20):  # a look at it has two tenths of a second, which a busy machine may need
        while statuses(await look_at(service)) != {200}:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("dead", [0, 1])
async def test_what_was_never_seen_may_have_the_model(
    service: Service, one: FakeOllama, two: FakeOllama, dead: int
) -> None:
    """While a backend has never answered, no model is called missing: a 503 says to try again; the rest works."""
    gone, left = ((one, "alpha"), (two, "beta"))[:: -1 if dead else 1]
    await gone[0].stop()
    assert statuses(await look_at(service, left[1])) == {200}
    answers = await look_at(service, gone[1])
    assert [answer.status_code for answer in answers] == [503, 503, 200, 503]
    assert answers[0].json()["code"] == "no_usable_backend"
    assert answers[0].headers["retry-after"] == "5"
    await gone[0].start()


async def test_with_all_dead_it_is_a_503(service: Service, one: FakeOllama, two: FakeOllama) -> None:
    """When none answers, every route says so."""
    await one.stop()
    await two.stop()
    paths = ("/api/tags", "/api/version", "/api/ps", "/v1/models")
    answers = [*await look_at(service), *[await service.client.get(path) for path in paths]]
    assert statuses(answers) == {503}
    assert {answer.headers["retry-after"] for answer in answers} == {"5"}


@pytest.mark.usefixtures("uninterrupted")
@pytest.mark.parametrize("hanging", [0, 1])
async def test_one_that_hangs_does_not_slow_down_the_rest(
    service: Service, one: FakeOllama, two: FakeOllama, hanging: int
) -> None:
    """Whatever a known backend can answer comes at once, from the first request on, wherever the other one stands."""
    stuck, model = ((one, "beta"), (two, "alpha"))[hanging]
    stuck.probe_mode = Mode.HANG_BEFORE_HEADERS
    started = time.monotonic()
    while time.monotonic() - started < 2 * CONNECT_TIMEOUT:
        for path in LOOKS:
            assert await seconds(partial(look, service, path, model), 200) < SOON, path
    assert asked(stuck) == []


@pytest.fixture
def _always_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request has the backends looked at anew."""
    for module in (routing, looks):
        monkeypatch.setattr(module, "PROBE_LIFE", 0.0)


@pytest.mark.usefixtures("uninterrupted", "_always_probed")
@pytest.mark.parametrize("path", ["/api/tags", "/api/ps", "/api/version", "/v1/models"])
async def test_one_that_hangs_delays_a_list_once(service: Service, one: FakeOllama, path: str) -> None:
    """A list waits CONNECT_TIMEOUT for a backend of which nothing is known, and never again for one that hung then."""
    one.probe_mode = Mode.HANG_BEFORE_HEADERS
    assert await seconds(partial(service.client.get, path), 200, tries=1) < CONNECT_TIMEOUT + LATER
    for _ in range(2):
        assert await seconds(partial(service.client.get, path), 200) < SOON


@pytest.mark.usefixtures("uninterrupted", "_always_probed")
async def test_a_model_that_only_the_hanging_one_may_have(service: Service, one: FakeOllama) -> None:
    """What nobody lists waits for it CONNECT_TIMEOUT at most, then hardly at all."""
    one.probe_mode = Mode.HANG_BEFORE_HEADERS
    asking = partial(look, service, "/api/chat", "unlisted")
    assert await seconds(asking, 503, tries=1) < CONNECT_TIMEOUT + LATER
    for _ in range(2):
        assert await seconds(asking, 503) < SOON


@pytest.fixture
async def other() -> AsyncIterator[FakeOpenAI]:
    """A server of OpenAI's API."""
    async with FakeOpenAI(models=[{**MODEL, "id": "qwen3"}]) as server:
        yield server


async def test_a_server_of_openais_api_beside_an_ollama(
    serve: ServeFactory, one: FakeOllama, other: FakeOpenAI
) -> None:
    """Each is asked for its own models, both are listed; and a model that neither has is missing, not unsupported."""
    async with serve(one.url, openai_backends=other.url) as service:
        names = [entry["name"] for entry in (await service.client.get("/api/tags")).json()["models"]]
        assert names == ["alpha:latest", "both:latest", "qwen3"]
        assert (await service.client.get("/api/version")).json() == {"version": "0.9.10"}
        for name in ("qwen3", "alpha"):
            assert statuses(await look_at(service, name)) == {200}
        assert asked(other) == ["/v1/chat/completions"]
        for method, path, body in (
            ("DELETE", "/api/delete", {"model": "neither"}),
            ("POST", "/api/copy", {"source": "neither", "destination": "new"}),
        ):
            missing = await manage(service, method, path, body)
            assert (missing.status_code, missing.json()["code"]) == (404, "model_not_found")
        assert (await manage(service, "DELETE", "/api/delete", {"model": "qwen3"})).status_code == 501


async def test_the_administrator_sees_where_and_why(service: Service, one: FakeOllama, two: FakeOllama) -> None:
    """In the headers of the answer; nobody else is told what stands behind the service."""
    await service.client.get("/api/tags")
    for model, reasons in (("alpha", {"only"}), ("both", {"affinity", "idle", "least-loaded"})):
        body = {"model": model, "prompt": "Hi", "stream": False}
        answer = await service.client.post("/api/generate", json=body, headers=ADMIN)
        assert answer.headers["X-Backend"] in (one.url, two.url)
        assert answer.headers["X-Route-Reason"] in reasons
        assert "X-Backend" not in (await service.client.post("/api/generate", json=body)).headers


async def test_a_model_that_is_loaded_is_asked_where_it_is(serve: ServeFactory) -> None:
    """Whatever the prompts; what loads it meanwhile attracts the others that want it."""
    async with (
        Holding(models=["llama3:latest"], holds=False) as cold,
        Holding(models=["llama3:latest"], holds=True) as warm,
        serve(cold.url, warm.url) as service,
    ):
        await service.client.get("/api/tags")
        for number in range(10):
            body = {"model": "llama3", "prompt": f"{number} {number}", "stream": False}
            assert (await service.client.post("/api/generate", json=body)).status_code == 200
        assert (len(asked(cold)), len(asked(warm))) == (0, 10)


@dataclass(kw_only=True, eq=False)
class Holding(FakeOllama):
    """An Ollama that says whether it has its models loaded."""

    holds: bool = True

    async def answer(self, connection: Connection, request: Request) -> None:
        """Nothing is loaded, unless it is."""
        if request.path == "/api/ps" and not self.holds:
            await connection.send(Reply(200, "application/json", b'{"models":[]}'), with_body=True)
        else:
            await super().answer(connection, request)
