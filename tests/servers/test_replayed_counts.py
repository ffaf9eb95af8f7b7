"""What a real server's zeros cost, replayed: LitServe counts nothing, so the service does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.wire import exchange
from tests.servers.real.asking import KEY
from tests.servers.real.case import post
from tests.servers.real.right import SENTENCE
from tests.servers.real.values import QUESTION
from tests.servers.replayed import ReplayedServer
from tests.servers.replies import Replies
from tests.service import Service, serving, settings_for


@pytest_asyncio.fixture(name="service")
async def _service() -> AsyncIterator[Service]:
    replies = Replies.read("litserve_0_2_19")
    async with (
        ReplayedServer(replies=replies) as fake,
        serving(settings_for(openai_backends=f"{fake.url} model={replies.model}")) as service,
    ):
        yield service


async def _row(service: Service, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await exchange(service.url, post(path, body).asked_of("tiny/model"), KEY)
    row = await service.client.get(f"{service.url}/api/usage/generations/{answer.header('x-request-id')}")
    told: dict[str, Any] = row.json()
    return told


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_zeros_beside_a_text_are_estimated(service: Service, path: str, *, streamed: bool) -> None:
    """A token for about four letters, or one for each piece that came, and marked as a guess."""
    row = await _row(service, path, {"messages": QUESTION, "stream": streamed})
    assert row["estimated"] is True
    assert row["prompt_tokens"] > 0
    assert len(SENTENCE) // 4 <= row["completion_tokens"] <= len(SENTENCE) // 2
