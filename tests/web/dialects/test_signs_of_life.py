"""Signs of life: who asks for them sees that a stream is on its way, and nobody else sees anything of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import anthropic
import httpx
import ollama
import openai
import pytest

from mlops_backend.errors import Unavailable
from mlops_backend.middleware import signs_of_life
from mlops_backend.services.llm.leases import Lessor, View
from tests.conftest import ServeFactory
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.service import ORDINARY_KEY, Service
from tests.web.dialects.drop_in_families import FAMILIES, Family

every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
PROGRESS: Final = {"X-Progress": "1"}
MESSAGES: Final[Any] = [{"role": "user", "content": "Hi"}]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sign every twentieth of a second."""
    monkeypatch.setattr(signs_of_life, "EVERY", 0.05)


@pytest.fixture
async def queued(serve: ServeFactory, fake: FakeOllama) -> AsyncIterator[Service]:
    """A service whose only slot is taken until the backend is released."""
    fake.hold()
    async with serve(fake.url, max_concurrency=1) as service:
        first = asyncio.create_task(service.client.post("/api/generate", json={"model": "llama3", "prompt": "x"}))
        await fake.wait_until(lambda: fake.active == 1)
        yield service
        fake.release()
        await first


def released_later(fake: FakeOllama) -> None:
    """Release the backend when some signs may have been seen."""
    asyncio.get_running_loop().call_later(0.25, fake.release)


async def watched(service: Service, fake: FakeOllama, family: Family) -> tuple[httpx.Response, str]:
    """A stream with signs of life, whose backend is released when two of them have come; and its text."""
    text = ""
    async with service.client.stream("POST", family.path, json=family.streamed, headers=PROGRESS) as answer:
        async for piece in answer.aiter_text():
            text += piece
            seen = text.count("\n\n") if family.events else len(text) - len(text.lstrip(" "))
            if seen >= 2:
                fake.release()
    return answer, text


@every_family
async def test_a_stream_that_waits_says_so(queued: Service, fake: FakeOllama, family: Family) -> None:
    """With its place, as a comment or a blank, until its words come; then it is the stream that it always is."""
    answer, text = await watched(queued, fake, family)
    plain = await queued.client.post(family.path, json=family.streamed)
    assert answer.status_code == plain.status_code == 200
    assert answer.headers["Content-Type"].partition(";")[0] == plain.headers["Content-Type"].partition(";")[0]
    if family.events:
        signs = [line for line in text.split("\n\n") if line.startswith(": ")]
        assert signs[:2] == [": queued, 0 before it"] * 2
        assert set(signs) <= {": queued, 0 before it", ": queued", ": asked"}
        rest = "\n\n".join(line for line in text.split("\n\n") if not line.startswith(": "))
        assert rest.count("\n\n") == plain.text.count("\n\n")
    else:
        assert text.startswith("  ")
        words = [json.loads(line) for line in text.splitlines()]
        assert len(words) == len(plain.text.splitlines())


async def test_a_place_that_is_not_known_just_now_ends_no_stream(
    queued: Service, fake: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker's parent, which gives the leases, may not answer for a moment."""

    async def unknown(key: str) -> View:
        raise Unavailable("The parent does not answer.")

    monkeypatch.setattr(queued.services.get(Lessor), "view", unknown)  # type: ignore[type-abstract]
    _, text = await watched(queued, fake, FAMILIES["openai chat"])
    assert text.startswith(": queued\n\n: queued\n\n")
    assert text.endswith("data: [DONE]\n\n")


@every_family
async def test_what_comes_soon_has_no_signs(
    serve: ServeFactory, fake: FakeOllama, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what fails soon has its status; nobody else's answers change."""
    monkeypatch.setattr(signs_of_life, "EVERY", 60.0)
    async with serve(fake.url) as service:
        answer = await service.client.post(family.path, json=family.streamed, headers=PROGRESS)
        assert answer.status_code == 200
        assert not answer.text.startswith((": ", " "))
        fake.mode = Mode.ERROR_500
        failed = await service.client.post(family.path, json=family.streamed, headers=PROGRESS)
        assert failed.status_code == 500
    async with serve(fake.url, max_concurrency=1) as service:
        assert (await service.client.get("/api/tags", headers=PROGRESS)).status_code == 200


@every_family
async def test_what_fails_later_is_an_error_of_the_stream(
    serve: ServeFactory, fake: FakeOllama, family: Family
) -> None:
    """In its family's words: the answer has begun."""
    fake.mode = Mode.HANG_BEFORE_HEADERS
    async with serve(fake.url, first_byte_timeout=0.3) as service:
        answer = await service.client.post(family.path, json=family.streamed, headers=PROGRESS)
    assert answer.status_code == 200
    stream = answer.content.lstrip(b" ")
    while stream.startswith(b": "):
        stream = stream.partition(b"\n\n")[2]
    assert family.last(stream)


async def test_a_whole_answer_has_no_signs(queued: Service, fake: FakeOllama) -> None:
    """Its status is not known before it comes."""
    released_later(fake)
    for family in FAMILIES.values():
        answer = await queued.client.post(family.path, json=family.whole, headers=PROGRESS)
        assert answer.status_code == 200
        assert isinstance(answer.json(), dict)
        assert answer.content[:1] == b"{"


async def test_who_leaves_between_two_signs_leaves_the_queue(queued: Service, fake: FakeOllama) -> None:
    """And the backend is never asked."""
    body = {"model": "llama3", "prompt": "y"}
    async with queued.client.stream("POST", "/api/generate", json=body, headers=PROGRESS) as answer:
        async for _ in answer.aiter_raw():
            break
    async with asyncio.timeout(20):
        while (await queued.client.get("/api/llm/queue")).json()["waiting"]:
            await asyncio.sleep(0.005)
    assert sum(request.path == "/api/generate" for request in fake.requests) == 1


async def test_real_clients_pass_over_them(queued: Service, fake: FakeOllama) -> None:
    """Those of Ollama, OpenAI and Anthropic read the words, and nothing else."""
    said = "".join(DEFAULT_WORDS)
    released_later(fake)
    key = {"X-API-Key": ORDINARY_KEY, **PROGRESS}
    async with openai.AsyncOpenAI(
        base_url=f"{queued.url}/v1", api_key=ORDINARY_KEY, default_headers=PROGRESS
    ) as client:
        stream = await client.chat.completions.create(model="llama3", messages=MESSAGES, stream=True)
        heard = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert heard == said
    fake.hold()
    running = asyncio.create_task(queued.client.post("/api/generate", json={"model": "llama3", "prompt": "x"}))
    await fake.wait_until(lambda: fake.active == 1)
    released_later(fake)
    parts = await ollama.AsyncClient(host=queued.url, headers=key).chat(model="llama3", messages=MESSAGES, stream=True)
    assert "".join([part.message.content or "" async for part in parts]) == said
    fake.hold()
    running = asyncio.create_task(queued.client.post("/api/generate", json={"model": "llama3", "prompt": "x"}))
    await fake.wait_until(lambda: fake.active == 1)
    released_later(fake)
    async with (
        anthropic.AsyncAnthropic(base_url=queued.url, api_key=ORDINARY_KEY, default_headers=PROGRESS) as other,
        other.messages.stream(model="llama3", max_tokens=64, messages=MESSAGES) as events,
    ):
        assert "".join([text async for text in events.text_stream]) == said
    await running
