"""One embedded engine for several workers."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from mlops_backend.services.llm.embedded import EmbeddedEngine, EngineOfParent, EngineOfWorkers, EngineUnavailable
from mlops_backend.services.llm.embedded.files import ModelFacts
from mlops_backend.services.llm.embedded.of_parent import TurnOfWorkers
from mlops_backend.shared import Shared
from mlops_backend.workers.frames import packed
from mlops_backend.workers.handlers import Handlers


class FakeEngine:
    """An engine that is there when it is started, and dies when it is told to."""

    batch = 512
    version = "1.2.3"
    facts = ModelFacts(size=7, digest="d1")
    socket_path = Path("/engine.sock")
    api_key = "key"

    def __init__(self, changed: Callable[[], None]) -> None:
        self.ready = False
        self.starts = 0
        self.failure: EngineUnavailable | None = None
        self._changed = changed

    async def start(self) -> None:
        """Take a turn of the loop for it."""
        self.starts += 1
        await asyncio.sleep(0)
        if self.failure:
            raise self.failure
        self.ready = True

    def become(self, *, ready: bool) -> None:
        """Die, or come again."""
        self.ready = ready
        self._changed()

    async def stop(self) -> None:
        """End."""
        self.ready = False


class Crew:
    """A parent and its workers, without processes between them."""

    def __init__(self, failure: EngineUnavailable | None = None) -> None:
        self._hears = Handlers()
        self._workers: list[Handlers] = []
        self.engine: Any = None
        self.of_all = EngineOfWorkers(self._hears, self._tell_all, cast(Any, self._make))
        cast(Any, self.engine).failure = failure

    def worker(self) -> EngineOfParent:
        """What another worker has of the engine."""
        hears = Handlers()
        self._workers.append(hears)
        return EngineOfParent(Shared(0, _Line(self._hears, hears), hears, self.of_all.place))

    def _make(self, changed: Callable[[], None]) -> EmbeddedEngine:
        self.engine = FakeEngine(changed)
        return cast(EmbeddedEngine, self.engine)

    def _tell_all(self, name: str, payload: Any) -> None:
        for hears in self._workers:
            hears.call(None, packed((name, payload)))


class _Line:
    """From a worker to the parent, and back."""

    def __init__(self, parent: Handlers, worker: Handlers) -> None:
        self._parent = parent
        self._worker = worker

    async def ask(self, name: str, payload: Any = None) -> Any:
        """Ask the parent."""
        answer = self._parent.call(self, packed((name, payload)))
        return await answer if inspect.isawaitable(answer) else answer

    def tell(self, name: str, payload: Any = None) -> None:
        """Tell the worker, as the parent does."""
        self._worker.call(None, packed((name, payload)))


async def test_it_is_started_once_for_all() -> None:
    """Each worker that asks has the same engine, also one that comes when it runs already."""
    crew = Crew()
    first, second = crew.worker(), crew.worker()
    await asyncio.gather(first.start(), second.start())
    third = crew.worker()
    await third.start()
    assert crew.engine.starts == 1
    for worker in (first, second, third):
        assert worker.ready
        assert (worker.batch, worker.version, worker.facts) == (512, "1.2.3", FakeEngine.facts)
        assert (str(worker.socket_path), worker.api_key) == ("/engine.sock", "key")


async def test_workers_know_when_it_is_away() -> None:
    """They refuse while it is started again, as one process would."""
    crew = Crew()
    worker = crew.worker()
    await worker.start()
    crew.engine.become(ready=False)
    assert not worker.ready
    crew.engine.become(ready=True)
    assert worker.ready
    await worker.stop()
    assert crew.engine.ready, "it serves the others"


async def test_what_keeps_it_from_running_is_told_to_each() -> None:
    """In the engine's own words, also to a worker that asks later."""
    crew = Crew(EngineUnavailable("no package", "last words"))
    for _ in range(2):
        with pytest.raises(EngineUnavailable, match="no package") as caught:
            await crew.worker().start()
        assert caught.value.details == "last words"
    assert crew.engine.starts == 1


async def test_the_first_worker_chooses_for_all() -> None:
    """One that starts when the Ollama of the others is away chooses it nevertheless, and no engine beside it."""
    crew = Crew()
    assert await crew.worker().is_spared(others_serve=True)
    assert await crew.worker().is_spared(others_serve=False)


async def test_workers_take_turns_at_embedding(tmp_path: Path) -> None:
    """Texts of two workers never share the engine; one that has gone away holds up nobody."""
    first, second = TurnOfWorkers(tmp_path / "turn"), TurnOfWorkers(tmp_path / "turn")
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(0.02)
    assert not waiting.done()
    first.release()
    await asyncio.wait_for(waiting, 5)
    given_up = asyncio.create_task(first.acquire())
    await asyncio.sleep(0.02)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    second.release()
    await asyncio.wait_for(first.acquire(), 5)
    first.release()
