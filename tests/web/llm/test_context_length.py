"""How long a model's context is, as far as the backends tell."""

from __future__ import annotations

import asyncio

import pytest

from mlops_backend.services.llm.backends import catalogue, pool
from mlops_backend.services.llm.backends import look as look_module
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


async def test_nobody_waits_for_what_nobody_told(serve: ServeFactory, fake: FakeOllama) -> None:
    """Once the look is over it is known that no backend tells: nobody else has a turn before the answer."""
    async with serve(fake.url) as service:
        door = service.services.get(OllamaService)
        assert await door.context_length("other", None) is None
        turns: list[None] = []
        asyncio.get_running_loop().call_soon(turns.append, None)
        assert await door.context_length("other", None) is None
        assert turns == []


def looks(fake: FakeOllama) -> int:
    """How often the backend was asked what it has loaded."""
    return sum(request.path == "/api/ps" for request in fake.requests)


async def test_backends_are_asked_rarely(serve: ServeFactory, fake: FakeOllama) -> None:
    """One look serves a while, for models that nobody has loaded too."""
    async with serve(fake.url) as service:
        door = service.services.get(OllamaService)
        for name in ("llama3", "other", "llama3"):
            await door.context_length(name, None)
        assert looks(fake) == 1


async def test_a_new_look_is_taken_once_the_last_is_old_and_over(
    serve: ServeFactory, fake: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looks again while a look is under way, however old it is."""
    monkeypatch.setattr(catalogue, "_CONTEXTS_LIFE", 0)
    async with serve(fake.url) as service:
        door = service.services.get(OllamaService)
        await door.context_length("other", None)
        await door.context_length("other", None)
        assert looks(fake) == 2
        for module in (pool, look_module):
            monkeypatch.setattr(module, "PROBE_LIFE", 0)
        fake.probe_mode = Mode.HANG_BEFORE_HEADERS
        for _ in range(3):
            assert await door.context_length("llama3", None) == 4096
            await asyncio.sleep(0.02)
        assert looks(fake) == 2
