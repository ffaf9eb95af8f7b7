"""A body that is carried over another route is let go with its answer too, and so is what was made of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conftest import ServeFactory
from tests.e2e.raw_client import RawClient
from tests.fakes.ollama import FakeOllama, Mode
from tests.service import Service
from tests.web.test_bodies_let_go import (
    FILLING,
    _uncollected,
    asking,
    assert_answers_let_go,
    assert_let_go,
    begun,
    bodies_held,
)

__all__ = ["_uncollected"]
pytestmark = pytest.mark.usefixtures("_uncollected")
every_way = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
every_route = pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])


@pytest.fixture(name="service")
async def _service(fake: FakeOllama, serve: ServeFactory) -> AsyncIterator[Service]:
    async with serve(fake.url, pin_num_ctx="*=8192", idle_timeout=5) as running:
        yield running


def large(path: str, **more: Any) -> bytes:
    """A request for a chat that says nearly a megabyte."""
    body = {"model": "llama3", "max_tokens": 9, "messages": [{"role": "user", "content": FILLING}], **more}
    if path == "/v1/responses":
        body["input"] = body.pop("messages")
    return asking(path, json.dumps(body).encode())


@every_way
@every_route
async def test_when_all_is_well(service: Service, fake: FakeOllama, path: str, *, stream: bool) -> None:
    """Whole or streamed, thinking or not; what is stored is held until it is written."""
    await assert_answers_let_go(service, fake, large(path, stream=stream, store=False), 200)
    thinking = {"reasoning_effort": "high", "thinking": {"type": "enabled"}, "store": False}
    await assert_answers_let_go(service, fake, large(path, stream=stream, **thinking), 200)
    assert {request.path for request in fake.requests if request.method == "POST"} <= {"/api/chat"}


@every_route
async def test_when_it_is_refused_here(service: Service, fake: FakeOllama, path: str) -> None:
    """Behind its large part."""
    messages = [{"role": "user", "content": FILLING}, {"role": "user", "content": 7}]
    await assert_answers_let_go(service, fake, large(path, messages=messages), 400)


@every_route
async def test_when_the_backend_refuses_it(service: Service, fake: FakeOllama, path: str) -> None:
    """Or vanishes."""
    for fake.mode, status in ((Mode.NOT_FOUND_MODEL, 404), (Mode.ERROR_500, 500), (Mode.CLOSE_BEFORE_HEADERS, 502)):
        await assert_answers_let_go(service, fake, large(path), status)


@every_way
@every_route
async def test_when_its_client_leaves_mid_answer(
    service: Service, fake: FakeOllama, path: str, *, stream: bool
) -> None:
    """At once."""
    fake.mode, before = Mode.HANG_MID_STREAM, bodies_held()
    async with begun(service, fake, large(path, stream=stream)) as clients:
        for client in clients:
            await RawClient.leave(client)
    await assert_let_go(service, fake, before)
