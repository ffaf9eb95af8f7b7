"""Streams of the drop-in routes: a backend's own bytes, at once, and an explicit end whatever happens."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama, Mode
from tests.service import Service
from tests.web.dialects.drop_in_families import FAMILIES, OPENAI, Family, begin, directly, masked

every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


async def stream_of(service: Service, family: Family, body: dict[str, Any] | None = None) -> bytes:
    """A stream's bytes, read to its proper end."""
    answer = await service.client.post(family.path, json=body or family.streamed)
    assert answer.status_code == 200, answer.text
    return answer.content


async def told_by(fake: FakeOllama, family: Family, body: dict[str, Any]) -> httpx.Response:
    """What the fake itself answers."""
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        return await client.post(fake.url + family.path, json=body)


@pytest.mark.parametrize(
    "mode", [Mode.NORMAL, Mode.SPLIT_LINES, Mode.ODD_UNICODE, Mode.HUGE_LINES], ids=lambda mode: mode.name
)
@every_family
async def test_a_stream_is_the_backends(service: Service, fake: FakeOllama, family: Family, mode: Mode) -> None:
    """Byte for byte what the backend sends to whoever asks it directly, however it is cut into pieces."""
    fake.mode, fake.thinking = mode, " hm well"
    expected = b"".join(await directly(fake, family, family.streamed))
    assert masked(await stream_of(service, family)) == masked(expected)


@pytest.mark.parametrize("mode", [Mode.NORMAL, Mode.SPLIT_LINES], ids=lambda mode: mode.name)
@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": False}}, {"stream_options": None}])
@pytest.mark.parametrize("family", OPENAI.values(), ids=OPENAI)
async def test_usage_that_nobody_asked_for_is_not_sent(
    service: Service, fake: FakeOllama, family: Family, options: dict[str, Any], mode: Mode
) -> None:
    """A client that did not ask for its usage gets the very stream that it would get from the backend."""
    fake.mode = mode
    expected = b"".join(await directly(fake, family, family.unasked))
    stream = await stream_of(service, family, family.unasked | options)
    assert masked(stream) == masked(expected)
    assert b"usage" not in stream
    assert fake.requests[-1].json()["stream_options"] == {"include_usage": True}


@every_family
async def test_each_event_arrives_before_the_next_leaves(service: Service, fake: FakeOllama, family: Family) -> None:
    """Nothing is gathered: a chunk of the backend is a chunk of the client's, at once."""
    expected = await directly(fake, family, family.streamed)
    fake.hold()
    async with await begin(service, family, family.streamed) as client:
        for number, event in enumerate(expected):
            fake.release(1)
            if not number:
                assert await client.head() == 200
            assert masked(await asyncio.wait_for(client.chunk(), 20)) == masked(event)
        assert await client.chunk() == b""


@pytest.mark.parametrize("family", OPENAI.values(), ids=OPENAI)
async def test_a_stream_without_its_usage_is_not_late(service: Service, fake: FakeOllama, family: Family) -> None:
    """Where usage is taken out, every other event still arrives before the next one leaves."""
    expected = await directly(fake, family, family.unasked)
    fake.hold()
    async with await begin(service, family, family.unasked) as client:
        for number, event in enumerate(expected):
            # Only the terminator comes behind the event that is taken out.
            fake.release(2 if number == len(expected) - 1 else 1)
            if not number:
                assert await client.head() == 200
            assert masked(await asyncio.wait_for(client.chunk(), 20)) == masked(event)
        assert await client.chunk() == b""


ENDS = {
    Mode.CUT_MID_STREAM: "backend_vanished",
    Mode.HANG_MID_STREAM: "idle_timeout",
    Mode.ERROR_MID_STREAM: "stream_incomplete",
    Mode.NO_DONE: "stream_incomplete",
    Mode.GARBAGE_JSON: "stream_incomplete",
}


@pytest.mark.parametrize("asking", ["streamed", "unasked"])
@pytest.mark.parametrize("mode", ENDS, ids=lambda mode: mode.name)
@every_family
async def test_no_stream_ends_silently(
    serve: ServeFactory, fake: FakeOllama, family: Family, mode: Mode, asking: str
) -> None:
    """What breaks off, hangs, dies or just stops has one last frame of its own that says so, and a proper end."""
    fake.mode = mode
    async with serve(fake.url, idle_timeout=0.15 if mode is Mode.HANG_MID_STREAM else 10) as service:
        told = family.last(await stream_of(service, family, getattr(family, asking)))
        await fake.wait_until(lambda: fake.active == 0, 1)
        assert service.admission.running == service.upstream.active == 0
    if mode is Mode.ERROR_MID_STREAM and not family.events:
        assert set(told) == {"error"}
    elif family.path.startswith("/v1/messages"):
        assert told["request_id"]
    else:
        assert (told if isinstance(told["error"], str) else told["error"])["code"] == ENDS[mode]


@pytest.mark.parametrize("family", [FAMILIES["generate"], FAMILIES["chat"]], ids=["generate", "chat"])
async def test_an_error_in_the_first_line_is_the_backends(service: Service, fake: FakeOllama, family: Family) -> None:
    """Ollama's own error line is passed on as it came, without another behind it."""
    fake.mode = Mode.ERROR_FIRST_LINE
    expected = b"".join(await directly(fake, family, family.streamed))
    assert await stream_of(service, family) == expected


@pytest.mark.parametrize("asking", ["streamed", "whole"])
@pytest.mark.parametrize("mode", [Mode.ERROR_500, Mode.BUSY_503, Mode.NOT_FOUND_MODEL], ids=lambda mode: mode.name)
@every_family
async def test_a_refusal_is_the_backends(
    service: Service, fake: FakeOllama, family: Family, mode: Mode, asking: str
) -> None:
    """An error before the first byte keeps the backend's status, type and bytes."""
    fake.mode = mode
    expected = await told_by(fake, family, getattr(family, asking))
    answer = await service.client.post(family.path, json=getattr(family, asking))
    assert (answer.status_code, masked(answer.content)) == (expected.status_code, masked(expected.content))
    assert answer.headers["content-type"] == expected.headers["content-type"]
    assert answer.status_code >= 400


@every_family
async def test_a_whole_answer_is_the_backends(service: Service, fake: FakeOllama, family: Family) -> None:
    """An answer that is not streamed has the backend's bytes, type and length."""
    expected = await told_by(fake, family, family.whole)
    answer = await service.client.post(family.path, json=family.whole)
    assert (answer.status_code, masked(answer.content)) == (200, masked(expected.content))
    assert answer.headers["content-type"] == expected.headers["content-type"]
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert "x-accel-buffering" not in answer.headers


@pytest.mark.parametrize("asking", ["streamed", "whole"])
@pytest.mark.parametrize(
    ("mode", "status"),
    [(Mode.HANG_BEFORE_HEADERS, 504), (Mode.CLOSE_BEFORE_HEADERS, 502), (Mode.NORMAL, 502)],
    ids=["silent", "closes", "down"],
)
@every_family
async def test_a_backend_that_says_nothing_is_told_in_the_familys_words(
    serve: ServeFactory, fake: FakeOllama, family: Family, mode: Mode, status: int, asking: str
) -> None:
    """One that hangs is a 504, one that is gone a 502, as JSON in the family's shape."""
    fake.mode = mode
    late = 0.15 if mode is Mode.HANG_BEFORE_HEADERS else 10
    async with serve("http://127.0.0.1:9" if mode is Mode.NORMAL else fake.url, first_byte_timeout=late) as service:
        answer = await service.client.post(family.path, json=getattr(family, asking))
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
        family.assert_error(answer.json())
        assert service.admission.running == service.upstream.active == 0


@pytest.mark.parametrize("mode", [Mode.CUT_MID_STREAM, Mode.HANG_MID_STREAM], ids=lambda mode: mode.name)
@every_family
async def test_half_a_whole_answer_is_none(serve: ServeFactory, fake: FakeOllama, family: Family, mode: Mode) -> None:
    """A whole answer that breaks off or hangs is an error with a status, not half an answer."""
    fake.mode = mode
    late = 0.15 if mode is Mode.HANG_MID_STREAM else 10
    async with serve(fake.url, first_byte_timeout=late, idle_timeout=late) as service:
        answer = await service.client.post(family.path, json=family.whole)
    assert answer.status_code == (502 if mode is Mode.CUT_MID_STREAM else 504)
    family.assert_error(answer.json())
