"""The queue before the backends: never more than they take, each key its share, and nobody waits for nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from statistics import median
from time import monotonic
from typing import Any, Final

import httpx
import pytest

from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama, Mode
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service

OTHER: Final = "key-of-somebody-else"
KEYS: Final = f"tester:{ORDINARY_KEY},other:{OTHER}"
PROMPT: Final = {"model": "llama3", "prompt": "Hi"}
FAMILIES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "own": ("/api/llm/generate", PROMPT),
    "ollama": ("/api/generate", PROMPT | {"stream": False}),
    "openai": ("/v1/chat/completions", {"model": "llama3", "messages": [{"role": "user", "content": "Hi"}]}),
    "anthropic": (
        "/v1/messages",
        {"model": "llama3", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]},
    ),
}


async def generate(service: Service, **headers: str) -> httpx.Response:
    """One whole generation."""
    return await service.client.post("/api/llm/generate", json=PROMPT, headers=headers)


def begun(service: Service, count: int, **headers: str) -> list[asyncio.Task[httpx.Response]]:
    """So many at once."""
    return [asyncio.create_task(generate(service, **headers)) for _ in range(count)]


async def queue(service: Service, key: str = "") -> dict[str, Any]:
    """What the service says of its queue."""
    headers = {"X-API-Key": key} if key else {}
    shown: dict[str, Any] = (await service.client.get("/api/llm/queue", headers=headers)).json()
    return shown


async def until_waiting(service: Service, count: int) -> None:
    """Until so many wait."""
    async with asyncio.timeout(20):
        while (await queue(service))["waiting"] != count:
            await asyncio.sleep(0.005)


@pytest.fixture
async def held(serve: ServeFactory, fake: FakeOllama) -> AsyncIterator[Service]:
    """A service whose backend takes one at a time, and answers nothing until it is released."""
    fake.hold()
    async with serve(fake.url, max_concurrency=1, api_keys=KEYS) as service:
        yield service
        fake.release()


async def test_a_backend_is_never_given_more_than_it_takes(serve: ServeFactory, fake: FakeOllama) -> None:
    """By its own count; all are answered."""
    fake.mode, fake.first_byte_delay = Mode.SLOW_FIRST_BYTE, 0.01
    async with serve(fake.url, max_concurrency=3) as service:
        answers = await asyncio.gather(*begun(service, 40))
    assert [answer.status_code for answer in answers] == [200] * 40
    assert fake.max_active == 3


async def test_the_administrator_sees_whose_wait(held: Service) -> None:
    """How many of each key and class, and for how long the first of them; others see that of their own alone."""
    tasks = begun(held, 3)  # one of them has the slot
    await until_waiting(held, 2)
    tasks += begun(held, 1, **{"X-API-Key": OTHER, "X-Priority": "batch"})
    await until_waiting(held, 3)
    seen = await queue(held, ADMIN_KEY)
    groups = [(each["key_id"], each["class"], each["waiting"]) for each in seen["waiting_by"]]
    assert groups == [("settings:tester", "interactive", 2), ("settings:other", "batch", 1)]
    assert seen["waiting_by"][0]["longest_waited_seconds"] > seen["waiting_by"][1]["longest_waited_seconds"] >= 0
    assert seen["own"] == []
    assert "waiting_by" not in await queue(held, OTHER)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_two_backends_are_both_used(serve: ServeFactory, fake: FakeOllama) -> None:
    """Whoever has a slot is asked; nobody waits for one while the other is idle."""
    async with FakeOllama() as other, serve(fake.url, other.url, max_concurrency=2) as service:
        await service.client.get("/api/llm/models")
        fake.hold()
        other.hold()
        tasks = begun(service, 6)
        await until_waiting(service, 2)
        await fake.wait_until(lambda: fake.active == 2)
        await other.wait_until(lambda: other.active == 2)
        fake.release()
        other.release()
        assert {answer.status_code for answer in await asyncio.gather(*tasks)} == {200}
    assert (fake.max_active, other.max_active) == (2, 2)


async def test_who_waits_sees_where(held: Service, fake: FakeOllama) -> None:
    """Each key its own places, the administrator the backends' slots too."""
    tasks = begun(held, 3)
    await until_waiting(held, 2)
    tasks += begun(held, 1, **{"X-API-Key": OTHER, "X-Priority": "batch"})
    await until_waiting(held, 3)
    mine, theirs, all_of_it = [await queue(held, key) for key in ("", OTHER, ADMIN_KEY)]
    assert (mine["running"], mine["waiting"], mine["max_waiting"]) == (1, 3, 1000)
    assert [(place["class"], place["ahead"]) for place in mine["own"]] == [("interactive", 0), ("interactive", 1)]
    assert [(place["class"], place["ahead"]) for place in theirs["own"]] == [("batch", 2)]
    assert "backends" not in mine
    assert all_of_it["backends"] == [{"name": fake.url, "running": 1, "max_concurrency": 1, "waiting": 3}]
    assert all_of_it["own"] == []
    fake.release()
    assert {answer.status_code for answer in await asyncio.gather(*tasks)} == {200}
    assert (await queue(held))["waiting"] == 0


async def test_who_leaves_while_it_waits_never_reaches_a_backend(held: Service, fake: FakeOllama) -> None:
    """And those behind it are served."""
    (running,) = begun(held, 1)
    await fake.wait_until(lambda: fake.active == 1)
    leaving, staying = begun(held, 1), begun(held, 1)
    await until_waiting(held, 2)
    leaving[0].cancel()
    await until_waiting(held, 1)
    fake.release()
    assert [answer.status_code for answer in await asyncio.gather(running, *staying)] == [200, 200]
    assert sum(request.path == "/api/generate" for request in fake.requests) == 2


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_full_queue_refuses_at_once(serve: ServeFactory, fake: FakeOllama, family: str) -> None:
    """In the words of whoever is asked, with the time after which it is worth another try."""
    fake.hold()
    path, body = FAMILIES[family]
    settings: dict[str, Any] = {"max_concurrency": 1, "max_queue": 3, "max_queue_per_key": 2}
    async with serve(fake.url, **settings, api_keys=KEYS) as service:
        tasks = begun(service, 3)
        await until_waiting(service, 2)
        own = await service.client.post(path, json=body)
        tasks += begun(service, 1, **{"X-API-Key": OTHER})
        await until_waiting(service, 3)
        everybodys = await service.client.post(path, json=body, headers={"X-API-Key": OTHER})
        fake.release()
        await asyncio.gather(*tasks)
    assert (own.status_code, everybodys.status_code) == (429, 503)
    assert own.headers["Retry-After"].isdigit()
    assert everybodys.headers["Retry-After"].isdigit()
    words = [json.dumps(answer.json()) for answer in (own, everybodys)]
    assert "of this key" in words[0]
    assert "Too many requests wait" in words[1]


async def test_nobody_waits_for_ever(serve: ServeFactory, fake: FakeOllama) -> None:
    """After `QUEUE_TIMEOUT` it is 503, and there is nothing of it left in the queue."""
    fake.hold()
    async with serve(fake.url, max_concurrency=1, queue_timeout=0.2) as service:
        (running,) = begun(service, 1)
        await fake.wait_until(lambda: fake.active == 1)
        late = await generate(service)
        assert (late.status_code, late.json()["code"]) == (503, "queue_timeout")
        assert late.headers["Retry-After"].isdigit()
        assert (await queue(service))["waiting"] == 0
        fake.release()
        assert (await running).status_code == 200


async def test_the_clock_of_the_first_byte_begins_behind_the_queue(serve: ServeFactory, fake: FakeOllama) -> None:
    """Who waited for longer than a backend may is served all the same; a backend that is silent then is late."""
    fake.hold()
    async with serve(fake.url, max_concurrency=1, first_byte_timeout=1.5) as service:
        stream = asyncio.create_task(service.client.post("/api/generate", json=PROMPT))
        await fake.wait_until(lambda: fake.active == 1)
        fake.release(1)
        (waiting,) = begun(service, 1)
        await until_waiting(service, 1)
        await asyncio.sleep(1.6)
        fake.release()
        assert [(await stream).status_code, (await waiting).status_code] == [200, 200]
        fake.mode = Mode.HANG_BEFORE_HEADERS
        assert (await generate(service)).json()["code"] == "first_byte_timeout"
        assert (await queue(service, ADMIN_KEY))["backends"][0]["running"] == 0


async def test_a_stop_ends_those_who_wait(held: Service, fake: FakeOllama) -> None:
    """As it ends those who run: with a word, and within its time."""
    tasks = begun(held, 3)
    await fake.wait_until(lambda: fake.active == 1)
    await until_waiting(held, 2)
    draining = asyncio.create_task(held.admission.drain(0.1))
    answers = await asyncio.gather(*tasks)
    await draining
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(503, "draining")}
    assert sum(request.path == "/api/generate" for request in fake.requests) == 1


async def test_a_greedy_key_ruins_it_for_nobody(serve: ServeFactory, fake: FakeOllama) -> None:
    """One key keeps two hundred waiting; another one that asks again and again waits for two generations or so."""
    fake.mode, fake.first_byte_delay, fake.words = Mode.SLOW_FIRST_BYTE, 0.03, ("Hi",)
    fake.hold()
    async with serve(fake.url, max_concurrency=1, api_keys=KEYS) as service:
        greedy = begun(service, 201)
        await until_waiting(service, 200)
        fake.release()
        began, waits = monotonic(), []
        for _ in range(15):
            started = monotonic()
            assert (await generate(service, **{"X-API-Key": OTHER})).status_code == 200
            waits.append(monotonic() - started)
        took = (monotonic() - began) / (sum(task.done() for task in greedy) + len(waits))
        for task in greedy:
            task.cancel()
        await asyncio.gather(*greedy, return_exceptions=True)
        await until_waiting(service, 0)
    assert median(waits) <= 3 * took  # it waits for two at most, and is one itself


async def test_batch_gives_way(held: Service, fake: FakeOllama) -> None:
    """What is in no hurry comes after what is, whoever came first."""
    tasks = begun(held, 1)
    await fake.wait_until(lambda: fake.active == 1)
    order: list[str] = []

    async def told(name: str, **headers: str) -> None:
        await generate(held, **headers)
        order.append(name)

    batch = [asyncio.create_task(told("batch", **{"X-Priority": "batch"})) for _ in range(2)]
    await until_waiting(held, 2)
    people = [asyncio.create_task(told("people")) for _ in range(2)]
    await until_waiting(held, 4)
    fake.release()
    await asyncio.gather(*tasks, *batch, *people)
    assert order == ["people", "people", "batch", "batch"]


async def key_of(service: Service, **fields: Any) -> str:
    """The secret of a new key."""
    headers = {"X-API-Key": ADMIN_KEY}
    made = await service.stranger.post("/api/admin/keys", json={"name": "k", **fields}, headers=headers)
    assert made.status_code == 201, made.text
    return str(made.json()["key"])


def named(service: Service, name: str, key: str, count: int) -> list[asyncio.Task[httpx.Response]]:
    """So many generations of a key at once, which the backend knows by their prompt."""
    body, headers = {**PROMPT, "prompt": name}, {"X-API-Key": key}
    return [
        asyncio.create_task(service.stranger.post("/api/llm/generate", json=body, headers=headers))
        for _ in range(count)
    ]


async def test_a_key_of_three_times_the_weight_has_three_of_four_turns(held: Service, fake: FakeOllama) -> None:
    """While both keep many waiting, whoever came first."""
    light, heavy = await key_of(held, weight=1), await key_of(held, weight=3)
    tasks = begun(held, 1)
    await fake.wait_until(lambda: fake.active == 1)
    tasks += named(held, "light", light, 12)
    await until_waiting(held, 12)
    tasks += named(held, "heavy", heavy, 12)
    await until_waiting(held, 24)
    fake.release()
    assert {answer.status_code for answer in await asyncio.gather(*tasks)} == {200}
    prompts = [request.json()["prompt"] for request in fake.requests if request.path == "/api/generate"]
    first = prompts[1:13]  # then of each at least three wait still
    assert [first[place : place + 4].count("heavy") for place in (0, 4, 8)] == [3, 3, 3]
    assert prompts.count("light") == prompts.count("heavy") == 12


@pytest.mark.parametrize("said", [{}, {"X-Priority": "interactive"}], ids=["nothing", "interactive"])
async def test_all_that_a_key_of_batch_asks_for_gives_way(
    held: Service, fake: FakeOllama, said: dict[str, str]
) -> None:
    """Without a header, and whatever one says: a client may lower itself, and not raise itself."""
    batch = await key_of(held, priority="batch")
    tasks = begun(held, 1)
    await fake.wait_until(lambda: fake.active == 1)
    body = {**PROMPT, "prompt": "batch"}
    headers = {"X-API-Key": batch, **said}
    tasks += [asyncio.create_task(held.stranger.post("/api/generate", json=body, headers=headers)) for _ in range(2)]
    await until_waiting(held, 2)
    tasks += named(held, "people", OTHER, 2)
    await until_waiting(held, 4)
    assert [(place["class"], place["ahead"]) for place in (await queue(held, batch))["own"]] == [
        ("batch", 2),
        ("batch", 3),
    ]
    listed = (await held.stranger.get("/api/llm/generations", headers=headers)).json()["generations"]
    assert [generation["class"] for generation in listed] == ["batch", "batch"]
    fake.release()
    assert {answer.status_code for answer in await asyncio.gather(*tasks)} == {200}
    prompts = [request.json()["prompt"] for request in fake.requests if request.path == "/api/generate"]
    assert prompts == ["Hi", "people", "people", "batch", "batch"]


async def test_what_is_no_generation_does_not_wait(held: Service, fake: FakeOllama) -> None:
    """Lists and the like are answered while every slot is taken."""
    tasks = begun(held, 2)
    await until_waiting(held, 1)
    async with asyncio.timeout(20):
        assert (await held.client.get("/api/tags")).status_code == 200
        assert (await held.client.post("/api/show", json={"model": "llama3"})).status_code == 200
    fake.release()
    await asyncio.gather(*tasks)
