"""The one door to inference: what the blueprints call."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any, TypeVar

from mlops_backend.errors import (
    BackendBusy,
    BackendRefused,
    BackendUnresolvable,
    ConnectTimedOut,
    InvalidBody,
    NoUsableBackend,
)
from mlops_backend.services.llm.admission import Admission
from mlops_backend.services.llm.backends import Backend, Operation
from mlops_backend.services.llm.relay import Clocks, Opened, first_byte_late, opened, relay
from mlops_backend.services.llm.routing import BackendPool, Probe
from mlops_backend.telemetry.record import RequestRecord

T = TypeVar("T")

_TRY_ANOTHER = (BackendRefused, BackendUnresolvable, ConnectTimedOut, BackendBusy)


class OllamaService:
    """Generations, models and health over all backends."""

    def __init__(self, pool: BackendPool, admission: Admission, clocks: Clocks, default_model: str) -> None:
        self._pool = pool
        self._admission = admission
        self._clocks = clocks
        self._default_model = default_model

    async def call(self, operation: Operation, body: Mapping[str, Any], record: RequestRecord) -> bytes:
        """One whole answer, as JSON bytes in Ollama's shape.

        Args:
            operation: which of Ollama's routes.
            body: the client's validated body; `model` may be missing.
            record: filled in on the way.

        Raises:
            AppError: whatever kept the answer away; see `errors.py`.
        """
        with self._admission.admit(record) as generation:
            answer = await generation.watch.wait(
                lambda: self._call(operation, body, record), self._clocks.first_byte, first_byte_late
            )
            record.first_byte = perf_counter()
            return answer

    async def stream(
        self, operation: Operation, body: Mapping[str, Any], record: RequestRecord
    ) -> AsyncGenerator[bytes, None]:
        """A stream of whole NDJSON lines whose first has already arrived.

        Raises:
            AppError: whatever kept the first line away. A later failure is the stream's own last line.
        """
        stream = relay(self._admission, record, lambda: self._open(operation, body, record), self._clocks)
        await anext(stream)
        return stream

    async def models(self) -> dict[str, Any]:
        """Every model of every reachable backend; `partial` and `unreachable` tell when one is missing.

        Raises:
            NoUsableBackend: none answers.
        """
        probes = await self._pool.probe()
        missing = [probe.backend.address for probe in probes if not probe.reachable]
        if len(missing) == len(probes):
            raise NoUsableBackend("No backend can be reached at present.")
        merged: dict[str, dict[str, Any]] = {}
        for probe in probes:
            for model in probe.models:
                merged.setdefault(str(model.get("name", "")), model)
        answer: dict[str, Any] = {"models": list(merged.values()), "count": len(merged)}
        return {**answer, "partial": True, "unreachable": missing} if missing else answer

    async def health(self) -> dict[str, Any]:
        """`healthy` when every backend answers, `degraded` when some do, `unhealthy` when none does."""
        probes = await self._pool.probe()
        reachable = sum(probe.reachable for probe in probes)
        status = "unhealthy" if not reachable else "healthy" if reachable == len(probes) else "degraded"
        return {"status": status, "backends": [_describe(probe) for probe in probes]}

    async def ready(self) -> bool:
        """Whether a new generation would be taken: not draining, and some backend answers."""
        return not self._admission.draining and await self._pool.any_reachable()

    async def _call(self, operation: Operation, body: Mapping[str, Any], record: RequestRecord) -> bytes:
        named = await self._name_model(body, record)
        return await self._first_that_can(named, record, lambda backend: backend.call(operation, named, record))

    async def _open(self, operation: Operation, body: Mapping[str, Any], record: RequestRecord) -> Opened:
        named = await self._name_model(body, record)
        return await self._first_that_can(
            named, record, lambda backend: opened(backend.stream(operation, named, record))
        )

    async def _first_that_can(
        self, named: Mapping[str, Any], record: RequestRecord, ask: Callable[[Backend], Awaitable[T]]
    ) -> T:
        """The first backend's answer; another is tried only while nothing has come of it."""
        *others, final = await self._pool.candidates(named["model"])
        for backend in others:
            try:
                return await ask(_note(backend, record))
            except _TRY_ANOTHER:
                continue
        return await ask(_note(final, record))

    async def _name_model(self, body: Mapping[str, Any], record: RequestRecord) -> dict[str, Any]:
        model = body.get("model") or self._default_model or await self._only_model()
        record.model = model
        return {**body, "model": model}

    async def _only_model(self) -> str:
        names = [str(model.get("name", "")) for model in (await self.models())["models"]]
        if len(names) != 1:
            many = "several models are available" if names else "the backend has no model"
            detail = {"loc": ["model"], "msg": f"Name a model: {many}.", "type": "missing"}
            raise InvalidBody("The body names no model, and there is no single one to take instead.", [detail])
        return names[0]


def _note(backend: Backend, record: RequestRecord) -> Backend:
    record.backend = backend.address
    return backend


def _describe(probe: Probe) -> dict[str, Any]:
    described: dict[str, Any] = {
        "url": probe.backend.address,
        "kind": probe.backend.kind,
        "reachable": probe.reachable,
        "version": probe.version,
        "latency_ms": round(probe.latency * 1000, 2),
        "models": [str(model.get("name", "")) for model in probe.models],
    }
    return described if probe.reachable else {**described, "error": probe.error}
