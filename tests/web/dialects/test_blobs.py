"""Uploads of blobs: passed on piece by piece, as fast as the backend takes them and no faster."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.conftest import ServeFactory
from tests.e2e.raw_client import RawClient
from tests.e2e.test_resources import eventually
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service
from tests.web.dialects.uploads import (
    ADMIN,
    BLOB,
    FEW,
    MEGABYTE,
    NAME,
    PIECE,
    head_of,
    key,
    name_of,
    stalled,
    uploading,
)


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_an_upload_arrives_as_it_was_framed(service: Service, fake: FakeOllama, framing: str) -> None:
    """Every byte arrives, with `Content-Length` where the client gave it, in chunks where it did not."""
    size = f"Content-Length: {len(BLOB)}" if framing == "length" else "Transfer-Encoding: chunked"
    async with uploading(service, head_of(name_of(BLOB), key(ADMIN_KEY), size)) as client:
        if framing == "length":
            client.writer.write(BLOB)
        else:
            client.writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(BLOB), BLOB))
        assert await client.answer() == (201, b"")
    (asked,) = fake.requests
    assert (asked.method, asked.path) == ("POST", name_of(BLOB))
    assert list(fake.blobs.values()) == [len(BLOB)]
    framed = (asked.header("content-length"), asked.header("transfer-encoding"))
    assert framed == ((str(len(BLOB)), None) if framing == "length" else (None, "chunked"))


async def test_an_empty_upload_is_an_upload(service: Service, fake: FakeOllama) -> None:
    """A blob of no bytes arrives as one."""
    answer = await service.client.post(name_of(b""), content=b"", headers=ADMIN)
    assert (answer.status_code, list(fake.blobs.values())) == (201, [0])


@pytest.mark.parametrize("framed", [False, True])
async def test_a_slow_backend_holds_the_client_back(service: Service, fake: FakeOllama, framed: bool) -> None:
    """What was taken from the client is never far ahead of what the backend has."""
    fake.blob_delay, fake.blob_any_digest, size = 0.01, True, 64 * MEGABYTE
    framing = "Transfer-Encoding: chunked" if framed else f"Content-Length: {size}"
    async with uploading(service, head_of(NAME, key(ADMIN_KEY), framing)) as client:
        ahead = 0
        for _ in range(size // MEGABYTE):
            await client.send(MEGABYTE, framed)
            ahead = max(ahead, client.sent - fake.blob_bytes)
        client.writer.write(b"0\r\n\r\n" if framed else b"")
        assert (await client.answer())[0] == 201
    assert ahead < FEW
    assert fake.blob_bytes == size


async def test_a_backend_that_stops_reading_stops_the_client(service: Service, fake: FakeOllama) -> None:
    """While the backend takes nothing the client gets rid of nothing, for as long as that lasts."""
    async with stalled(service, fake) as client:
        assert client.sent - fake.blob_bytes < FEW
        await fake.stop()
        assert (await client.answer())[0] == 502


async def test_chunks_win_over_a_length(service: Service, fake: FakeOllama) -> None:
    """A request that has both is read in chunks (RFC 9112, 6.3); the length in it may be a lie, and goes no further."""
    head = head_of(name_of(BLOB), key(ADMIN_KEY), "Content-Length: 5", "Transfer-Encoding: chunked")
    async with uploading(service, head) as client:
        client.writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(BLOB), BLOB))
        assert (await client.answer())[0] in {201, 400}
    assert fake.blob_bytes in {0, len(BLOB)}


async def test_a_client_that_resets_a_stalled_upload_is_noticed(service: Service, fake: FakeOllama) -> None:
    """Its slot is free again soon, although the backend takes nothing. (A polite end waits behind the unread bytes.)"""
    async with stalled(service, fake) as client:
        client.reset()
    try:
        await eventually(lambda: service.admission.running == service.upstream.active == 0)
    finally:
        await fake.stop()


@pytest.mark.parametrize("reset", [False, True])
async def test_a_stalled_upload_leaves_nothing(service: Service, fake: FakeOllama, reset: bool) -> None:
    """When first the client leaves, by a RST too, and then the backend dies, neither connection nor task is left."""
    tasks = len(asyncio.all_tasks())
    async with stalled(service, fake) as client:
        if reset:
            client.reset()
    await fake.stop()
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks)


@pytest.mark.parametrize("framed", [False, True])
async def test_an_early_answer_is_passed_on(service: Service, fake: FakeOllama, framed: bool) -> None:
    """A backend that answers before it has read the body is heard, while the client is still sending."""
    fake.blob_early = True
    framing = "Transfer-Encoding: chunked" if framed else f"Content-Length: {2**40}"
    async with uploading(service, head_of(NAME, key(ADMIN_KEY), framing)) as client:
        sending = asyncio.create_task(client.send(2**40, framed))
        assert (await client.answer())[0] == 200
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    await eventually(lambda: service.admission.running == service.upstream.active == 0)


async def test_a_blob_that_is_there_is_not_uploaded_again(service: Service, fake: FakeOllama) -> None:
    """The backend's 200 for a blob that it has is the client's, however much it wanted to send."""
    fake.blobs[NAME.rpartition("/")[2]] = 1
    async with uploading(service, head_of(NAME, key(ADMIN_KEY), f"Content-Length: {16 * MEGABYTE}")) as client:
        sending = asyncio.create_task(client.send(16 * MEGABYTE))
        assert (await client.answer())[0] == 200
        await asyncio.gather(sending, return_exceptions=True)
    assert fake.blob_bytes == 0


@pytest.mark.parametrize("vanish", [RawClient.leave, RawClient.reset])
@pytest.mark.parametrize("delay", [0.0, 0.05], ids=["backend reads", "backend is slow"])
async def test_a_client_that_leaves_ends_its_upload(
    service: Service, fake: FakeOllama, vanish: object, delay: float
) -> None:
    """The backend is left as well, at once, and no blob is made of the part that came."""
    fake.blob_any_digest, fake.blob_delay = True, delay
    client = await RawClient.connect(service.url)
    await client.send(head_of(NAME, key(ADMIN_KEY), f"Content-Length: {4 * MEGABYTE}") + PIECE * 32)
    await fake.wait_until(lambda: fake.blob_bytes >= MEGABYTE)
    await (client.leave() if vanish is RawClient.leave else client.reset())
    await fake.wait_for_disconnect(1)
    await eventually(lambda: service.admission.running == service.upstream.active == 0)
    assert fake.blobs == {}


async def test_a_chunked_upload_that_breaks_off_is_no_blob(service: Service, fake: FakeOllama) -> None:
    """A client that leaves between two chunks has not ended its body, and nobody ends it for it."""
    fake.blob_any_digest = True
    client = await RawClient.connect(service.url)
    await client.send(head_of(NAME, key(ADMIN_KEY), "Transfer-Encoding: chunked") + b"5\r\nhello\r\n")
    await fake.wait_until(lambda: fake.blob_bytes == 5)
    await client.leave()
    await fake.wait_for_disconnect(1)
    assert fake.blobs == {}


async def test_a_backend_that_dies_in_an_upload_is_a_502(service: Service, fake: FakeOllama) -> None:
    """The client is told so in JSON, though it was still sending."""
    fake.blob_any_digest = True
    async with uploading(service, head_of(NAME, key(ADMIN_KEY), f"Content-Length: {2**40}")) as client:
        sending = asyncio.create_task(client.send(2**40))
        await fake.wait_until(lambda: fake.blob_bytes >= MEGABYTE)
        await fake.stop()
        status, body = await client.answer()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert (status, json.loads(body)["code"]) == (502, "backend_vanished")
    await eventually(lambda: service.admission.running == service.upstream.active == 0)


@pytest.mark.parametrize(("header", "status"), [(key(ORDINARY_KEY), 403), ("X-Nothing: x", 401), (key("wrong"), 401)])
@pytest.mark.parametrize("framed", [False, True])
async def test_a_refused_upload_is_answered(
    service: Service, fake: FakeOllama, header: str, status: int, framed: bool
) -> None:
    """Without the administrator's key the answer comes although the client is sending, and no backend is asked."""
    framing = "Transfer-Encoding: chunked" if framed else f"Content-Length: {2**40}"
    async with uploading(service, head_of(NAME, header, framing)) as client:
        sending = asyncio.create_task(client.send(2**40, framed))
        answered, body = await client.answer()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert (answered, json.loads(body)["code"]) == (status, {401: "unauthorized", 403: "forbidden"}[status])
    assert fake.requests == []


async def test_a_client_that_waits_with_its_body_is_answered(service: Service, fake: FakeOllama) -> None:
    """A refusal is not kept back until the body has come: a client may wait for it before it sends."""
    async with uploading(service, head_of(NAME, key(ORDINARY_KEY), "Content-Length: 1000000")) as client:
        assert (await client.answer())[0] == 403


async def test_a_blob_is_asked_for_by_head(service: Service, fake: FakeOllama) -> None:
    """HEAD is the backend's 200 for a blob that it has, and its 404 for another; for the administrator only."""
    fake.blobs[NAME.rpartition("/")[2]] = 1
    assert (await service.client.head(NAME, headers=ADMIN)).status_code == 200
    assert (await service.client.head(name_of(BLOB), headers=ADMIN)).status_code == 404
    assert [(asked.method, asked.path) for asked in fake.requests] == [("HEAD", NAME), ("HEAD", name_of(BLOB))]
    assert (await service.client.head(NAME)).status_code == 403


async def test_a_blob_and_what_is_made_of_it_go_to_one_backend(serve: ServeFactory, fake: FakeOllama) -> None:
    """Of two backends the first has the blob, and is asked to create, whatever models the second has."""
    async with FakeOllama(models=["mine:latest"]) as second, serve(fake.url, second.url) as service:
        for _ in range(2):
            assert (await service.client.head(name_of(BLOB), headers=ADMIN)).status_code in {200, 404}
            assert (await service.client.post(name_of(BLOB), content=BLOB, headers=ADMIN)).status_code in {200, 201}
            made = {"model": "mine", "files": {"a.gguf": name_of(BLOB).rpartition("/")[2]}}
            assert (await service.client.post("/api/create", json=made, headers=ADMIN)).status_code == 200
        paths = {name_of(BLOB), "/api/create"}
        assert sum(asked.path in paths for asked in fake.requests) == 6
        assert not any(asked.path in paths for asked in second.requests)
