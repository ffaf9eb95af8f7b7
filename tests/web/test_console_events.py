"""What happens is told to those who listen, each of whom hears what their key may see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Final

import httpx
import pytest

from mlops_backend.services.other.live import Live
from mlops_backend.services.other.live.sources import Found
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama, Mode
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service
from tests.web.ear import EVENTS, Ear, Told, listening_by

OTHER: Final = "key-of-somebody-else"
KEYS: Final = f"tester:{ORDINARY_KEY},other:{OTHER}"
GENERATE: Final = {"model": "llama3", "prompt": "Hi"}
EVERY: Final = 0.02
OF_ORDINARY: Final = {"queue", "generations", "errors", "models"}


def listening(service: Service, key: str = ADMIN_KEY, last: str = "") -> AbstractAsyncContextManager[Ear]:
    """Listen with a key until the block ends."""
    return listening_by(service.stranger, {"X-API-Key": key, **({"Last-Event-ID": last} if last else {})})


def quick(service: Service) -> Live:
    """The service's own, with more looks a second."""
    live = service.services.get(Live)
    live.every = EVERY
    return live


def begun(service: Service, key: str = ORDINARY_KEY, name: str = "mine") -> asyncio.Task[httpx.Response]:
    """A generation under way, with a name."""
    headers = {"X-API-Key": key, "X-Request-ID": name}
    return asyncio.create_task(service.stranger.post("/api/llm/generate", json=GENERATE, headers=headers))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def until_nobody_listens(live: Live) -> None:
    """Wait until the last one has gone."""
    await until(lambda: not len(live))


async def test_each_is_told_at_once_and_then_what_changes(serve: ServeFactory, fake: FakeOllama) -> None:
    """What the routes say, and nothing again that is as it was; a stream of nothing has signs of life."""
    fake.hold()
    async with serve(fake.url, max_concurrency=1) as service:
        live = quick(service)
        live.heartbeat = 0.1
        async with listening(service) as ear:
            await ear.all_of({*OF_ORDINARY, "backends"})
            assert await ear.until("queue") == (await ask(service, "/api/llm/queue"))
            backends = (await ask(service, "/api/admin/backends"))["backends"]
            told = (await ear.until("backends"))["backends"]
            assert [{**each, "latency_ms": 0} for each in told] == [{**each, "latency_ms": 0} for each in backends]
            (model,) = (await ear.until("models"))["models"]
            assert (model["name"], model["loaded"]) == ("llama3:latest", True)
            seen = len(ear.events)
            await until(lambda: ear.comments >= 2)
            assert len(ear.events) == seen
            tasks = [begun(service), begun(service, name="second")]
            await ear.until("queue", lambda told: (told["running"], told["waiting"]) == (1, 1))
            running = await ear.until("generations", lambda told: told["count"] == 2)
            assert {each["id"]: each["backend"] for each in running["generations"]} == {"mine": fake.url, "second": ""}
            fake.release()
            await asyncio.gather(*tasks)
            await ear.until("queue", lambda told: (told["running"], told["waiting"]) == (0, 0))
            await ear.until("generations", lambda told: told["count"] == 0)


async def ask(service: Service, path: str, key: str = ADMIN_KEY) -> Told:
    """What a route says."""
    told: Told = (await service.stranger.get(path, headers={"X-API-Key": key})).json()
    return told


async def test_after_a_break_only_what_changed_is_told(serve: ServeFactory, fake: FakeOllama) -> None:
    """By the id of the last event; one that is none of ours is as none."""
    async with serve(fake.url) as service:
        quick(service)
        async with listening(service) as ear:
            await ear.all_of({*OF_ORDINARY, "backends"})
            last = ear.events[-1][0]
        fake.models.append("qwen3:latest")
        await service.stranger.post(f"/api/admin/backends/{fake.url}/probe", headers={"X-API-Key": ADMIN_KEY})
        async with listening(service, last=last) as ear:
            await ear.until("models", lambda told: told["count"] == 2)
            await ear.until("backends", lambda told: told["backends"][0]["models"] == 2)
            assert {kind for _, kind, _ in ear.events} == {"models", "backends"}
        for strange in ("x", "queue-0123456789abcdef", "queue-" + "f" * 1000, "a.b.c-1"):
            async with listening(service, last=strange) as ear:
                await ear.all_of({*OF_ORDINARY, "backends"})


async def test_each_key_hears_its_own(serve: ServeFactory, fake: FakeOllama) -> None:
    """In every event: what runs, waits and failed of another key is nowhere, and no backend is named."""
    async with serve(fake.url, max_concurrency=1, api_keys=KEYS) as service:
        quick(service)
        fake.mode = Mode.ERROR_500
        for key, name in ((ORDINARY_KEY, "failed-mine"), (OTHER, "failed-theirs")):
            assert (await begun(service, key, name)).status_code == 502
        fake.mode = Mode.NORMAL
        fake.hold()
        tasks = [begun(service, OTHER, "theirs-1")]
        await until_one_runs(service)
        tasks += [begun(service, OTHER, "theirs-2"), begun(service, ORDINARY_KEY, "mine-1")]
        everything = ("theirs-1", "theirs-2", "mine-1", "failed-mine", "failed-theirs")
        async with listening(service) as admin, listening(service, ORDINARY_KEY) as mine:
            await admin.until("queue", lambda told: told["waiting"] == 2)
            await mine.until("queue", lambda told: len(told["own"]) == 1)
            await admin.until("generations", lambda told: told["count"] == 3)
            await mine.until("generations", lambda told: told["count"] == 1)
            await admin.until("errors", lambda told: len(told["errors"]) == 2)
            (error,) = (await mine.until("errors", lambda told: bool(told["errors"])))["errors"]
            await mine.all_of(OF_ORDINARY)
            heard = json.dumps([told for _, _, told in mine.events])
            seen = json.dumps([told for _, _, told in admin.events])
        assert {kind for _, kind, _ in mine.events} == OF_ORDINARY
        assert [name in seen for name in everything] == [True] * 5
        assert [name for name in everything if name in heard] == ["mine-1", "failed-mine"]
        assert "settings:other" not in heard
        assert fake.url not in heard
        assert (error["request_id"], error["status"], error["outcome"]) == ("failed-mine", 502, "error")
        assert (await ask(service, f"/api/usage/generations/{error['id']}", ORDINARY_KEY))[
            "request_id"
        ] == "failed-mine"
        fake.release()
        await asyncio.gather(*tasks)


async def until_one_runs(service: Service) -> None:
    """Wait until one has the slot."""
    async with asyncio.timeout(30):
        while (await ask(service, "/api/llm/queue"))["running"] != 1:
            await asyncio.sleep(0.005)


async def test_a_key_hears_what_its_scopes_and_models_are_for(serve: ServeFactory, fake: FakeOllama) -> None:
    """As with the routes that tell the same."""
    fake.models[:] = ["llama3:latest", "secret:latest"]
    async with serve(fake.url) as service:
        quick(service)
        key = await made(service, scopes=["models:read"], models=["llama3"])
        async with listening(service, key["key"]) as ear, listening(service) as admin:
            await admin.all_of({*OF_ORDINARY, "backends"})
            models = await ear.until("models")
            assert [model["name"] for model in models["models"]] == ["llama3:latest"]
            assert {kind for _, kind, _ in ear.events} == {"models"}


async def made(service: Service, **told: Any) -> Told:
    """A new key."""
    answer = await service.stranger.post(
        "/api/admin/keys", json={"name": "page", **told}, headers={"X-API-Key": ADMIN_KEY}
    )
    assert answer.status_code == 201, answer.text
    key: Told = answer.json()
    return key


async def test_it_ends_with_its_key(serve: ServeFactory, fake: FakeOllama) -> None:
    """Soon after the key was disabled; who comes then is unknown."""
    async with serve(fake.url) as service:
        quick(service).check = 0.05
        key = await made(service)
        async with listening(service, key["key"]) as ear:
            await ear.until("queue")
            changed = await service.stranger.patch(
                f"/api/admin/keys/{key['id']}", json={"enabled": False}, headers={"X-API-Key": ADMIN_KEY}
            )
            assert changed.status_code == 200
            await ear.end()
        assert (await service.stranger.get(EVENTS, headers={"X-API-Key": key["key"]})).status_code == 401


async def test_it_ends_with_its_session(serve: ServeFactory, fake: FakeOllama) -> None:
    """Soon after its owner has signed out, wherever that was."""
    async with serve(fake.url) as service:
        quick(service).check = 0.05
        route, key = "/api/console/session", {"X-API-Key": ORDINARY_KEY}
        signed = await service.stranger.post(route, headers=key)
        cookie = {"Cookie": f"mlops_console={signed.cookies['mlops_console']}"}
        service.stranger.cookies.clear()
        async with listening_by(service.stranger, cookie) as ear:
            await ear.all_of(OF_ORDINARY)
            await service.stranger.delete(route, headers=cookie | {"X-CSRF-Token": signed.json()["csrf_token"]})
            await ear.end()
        assert (await service.stranger.get(EVENTS, headers=cookie)).status_code == 401


async def test_a_client_that_leaves_leaves_nothing(serve: ServeFactory, fake: FakeOllama) -> None:
    """And with the last one the looks end."""
    async with serve(fake.url) as service:
        live = quick(service)
        counted = Counted()
        live.looks = counted
        async with listening(service), listening(service, ORDINARY_KEY):
            await until(lambda: counted.looks >= 3)
        await until_nobody_listens(live)
        await until(lambda: live.scene is None)
        looks = counted.looks
        await asyncio.sleep(5 * EVERY)  # nobody is told of what is not done
        assert counted.looks == looks


class Counted:
    """Finds nothing, or something large that is another one each time."""

    def __init__(self, size: int = 0) -> None:
        self.looks = 0
        self.size = size

    async def look(self, keys: Sequence[str]) -> Found:
        """Nothing, or so many bytes."""
        self.looks += 1
        return Found(backends={"look": self.looks, "large": "x" * self.size})

    async def aclose(self) -> None:
        """Nothing is held."""


class Stepped(Counted):
    """Looks when it is let, once each time."""

    def __init__(self) -> None:
        super().__init__()
        self.let = asyncio.Semaphore(0)

    async def look(self, keys: Sequence[str]) -> Found:
        """The number of the look."""
        await self.let.acquire()
        return await super().look(keys)


async def test_one_look_is_made_for_all(serve: ServeFactory, fake: FakeOllama) -> None:
    """However many listen, each hears of the same one."""
    async with serve(fake.url) as service, AsyncExitStack() as stack:
        live = quick(service)
        live.looks = stepped = Stepped()
        ears = [await stack.enter_async_context(listening(service)) for _ in range(10)]
        for number in (1, 2, 3):
            stepped.let.release()
            for ear in ears:
                await ear.until("backends", lambda told, number=number: told["look"] == number)  # type: ignore[misc]
        assert stepped.looks == 3


async def test_who_takes_nothing_is_let_go(serve: ServeFactory, fake: FakeOllama) -> None:
    """Meanwhile nothing is kept for it but what was sent last."""
    async with serve(fake.url, send_timeout=0.3) as service:
        live = quick(service)
        live.looks = Counted(size=4_000_000)
        headers = {"X-API-Key": ADMIN_KEY}
        async with service.stranger.stream("GET", EVENTS, headers=headers) as answer:
            assert answer.status_code == 200
            await until_nobody_listens(live)


async def test_a_backend_that_hangs_holds_nobody_up(serve: ServeFactory) -> None:
    """What does not ask it is told all the same; of the backend it is told once the look at it has ended."""
    async with FakeOllama(probe_mode=Mode.HANG_BEFORE_HEADERS) as fake, serve(fake.url, connect_timeout=60) as service:
        quick(service)
        async with listening(service) as ear:
            await ear.all_of({"queue", "generations", "errors"})
            assert "backends" not in {kind for _, kind, _ in ear.events}
            await fake.stop()
            (backend,) = (await ear.until("backends"))["backends"]
            assert (backend["reachable"], bool(backend["error"])) == (False, True)


async def test_it_ends_when_the_service_drains(serve: ServeFactory, fake: FakeOllama) -> None:
    """At once, though a look is under way; who comes then is sent elsewhere."""
    async with serve(fake.url) as service:
        async with listening(service) as ear:
            await ear.until("queue")
            await service.admission.drain(0)
            await ear.end()
        answer = await service.stranger.get(EVENTS, headers={"X-API-Key": ADMIN_KEY})
        assert (answer.status_code, answer.json()["code"]) == (503, "draining")


@pytest.mark.parametrize(
    ("bound", "status", "code"), [("most_of_key", 429, "key_listeners_full"), ("most", 503, "listeners_full")]
)
async def test_so_many_may_listen(serve: ServeFactory, fake: FakeOllama, bound: str, status: int, code: str) -> None:
    """Of one key and of all; who leaves makes room."""
    async with serve(fake.url) as service:
        live = quick(service)
        setattr(live, bound, 1)
        headers = {"X-API-Key": ADMIN_KEY}
        async with listening(service) as ear:
            await ear.until("queue")
            answer = await service.stranger.get(EVENTS, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
            assert answer.headers["retry-after"]
        await until_nobody_listens(live)
        async with listening(service) as ear:
            await ear.until("queue")
