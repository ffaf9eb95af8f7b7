"""How long a model's context is, as far as the backends tell."""

from __future__ import annotations

import asyncio

import pytest

from mlops_backend.services.llm.backends import catalogue
from mlops_backend.services.llm.ollama_service import OllamaService
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama, Mode


async def test_a_backend_tells_of_a_loaded_model(serve: ServeFactory, fake: FakeOllama) -> None:
    """Whatever spelling the model is named by; of another one nobody tells."""
    async with serve(fake.url, default_model="llama3") as service:
        door = service.services.get(OllamaService)
        for name in ("llama3", "LLAMA3:latest", ""):
            assert await door.context_length(name, None) == 4096
        assert await door.context_length("other", None) is None


async def test_all_who_ask_at_once_are_told(serve: ServeFactory, fake: FakeOllama) -> None:
    """One look serves them, also when the first of them leaves."""
    async with serve(fake.url) as service:
        door = service.services.get(OllamaService)
        first, *others = [asyncio.create_task(door.context_length("llama3", None)) for _ in range(5)]
        await asyncio.sleep(0)
        first.cancel()
        assert await asyncio.gather(*others) == [4096] * 4


async def test_a_backend_that_hangs_keeps_nobody(
    serve: ServeFactory, fake: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was told before counts meanwhile, at once."""
    monkeypatch.setattr(catalogue, "_CONTEXTS_LIFE", 0)
    async with FakeOllama() as other, serve(fake.url, other.url) as service:
        door = service.services.get(OllamaService)
        assert await door.context_length("llama3", None) == 4096
        other.probe_mode = fake.probe_mode = Mode.HANG_BEFORE_HEADERS
        for _ in range(3):
            async with asyncio.timeout(0.5):
                assert await door.context_length("llama3", None) == 4096
