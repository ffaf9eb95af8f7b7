"""Compressed bodies on OpenAI's and Anthropic's routes."""

from __future__ import annotations

import asyncio
import json

import pytest
from zstandard import ZstdCompressor

from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import Service

BODY = json.dumps({"model": "llama3", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}).encode()
ZSTD = {"Content-Encoding": "zstd", "Content-Type": "application/json"}
PATHS = ["/v1/chat/completions", "/v1/messages"]


@pytest.mark.parametrize("path", PATHS)
async def test_zstd_is_decoded(path: str, service: Service, fake: FakeOllama) -> None:
    """The backend gets the plain body, and no word of an encoding."""
    answer = await service.client.post(path, content=ZstdCompressor().compress(BODY), headers=ZSTD)
    assert answer.status_code == 200, answer.text
    recorded = await fake.wait_for_request(path)
    assert recorded.body == BODY
    assert recorded.header("content-encoding") is None


async def test_several_frames_are_one_body(service: Service) -> None:
    """A stream may be made of more than one."""
    compress = ZstdCompressor().compress
    content = compress(BODY[:20]) + compress(BODY[20:])
    assert (await service.client.post(PATHS[0], content=content, headers=ZSTD)).status_code == 200


async def test_empty_frames_without_end_are_refused(service: Service) -> None:
    """Some bytes each, and each would be looked at by itself."""
    content = ZstdCompressor().compress(b"") * 100_000 + ZstdCompressor().compress(BODY)
    async with asyncio.timeout(20):
        assert (await service.client.post(PATHS[0], content=content, headers=ZSTD)).status_code == 400


@pytest.mark.parametrize("path", PATHS)
async def test_a_bomb_is_too_large(path: str, fake: FakeOllama, serve: ServeFactory) -> None:
    """What counts is the size that it would have in memory."""
    bomb = ZstdCompressor().compress(b" " * 50_000_000)
    assert len(bomb) < 10_000
    async with serve(fake.url, max_body_bytes=1_000_000) as service:
        answer = await service.client.post(path, content=bomb, headers=ZSTD)
    assert answer.status_code == 413
    assert not [request for request in fake.requests if request.path == path]


@pytest.mark.parametrize(
    "content",
    [
        b"not zstd",
        b"",
        ZstdCompressor().compress(BODY)[:-7],
        ZstdCompressor(write_checksum=True).compress(BODY)[:-2],
        ZstdCompressor().compress(BODY) + b"rest",
        b"\x28\xb5\x2f\xfd\xff",
    ],
)
async def test_what_is_no_zstd_is_refused(content: bytes, service: Service, fake: FakeOllama) -> None:
    """In OpenAI's shape, before any backend is asked; a body that is cut short is not taken for a short one."""
    answer = await service.client.post(PATHS[0], content=content, headers=ZSTD)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.json()["error"]["message"]


async def test_ollamas_own_routes_take_no_encoding(service: Service, fake: FakeOllama) -> None:
    """Ollama reads the bytes as they are there, whatever a header says; so a plain body passes."""
    answer = await service.client.post("/api/chat", content=BODY, headers=ZSTD)
    assert answer.status_code == 200
    assert (await fake.wait_for_request("/api/chat")).body == BODY
