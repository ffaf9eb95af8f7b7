"""The one door to inference: what the blueprints call."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from mlops_backend.errors import (
    BackendBusy,
    BackendRefused,
    BackendUnresolvable,
    ConnectTimedOut,
    InvalidBody,
    NoUsableBackend,
)
from mlops_backend.services.llm.admission import Admission, Generation
from mlops_backend.services.llm.backends import Backend, Operation
from mlops_backend.services.llm.relay import Clocks, first_byte_late, primed, relay
from mlops_backend.services.llm.routing import BackendPool, Probe
from mlops_backend.telemetry.record import RequestRecord

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
            return await generation.watch.wait(
                lambda: self._call(operation, body, record), self._clocks.first_byte, first_byte_late
            )

    async def stream(
        self, operation: Operation, body: Mapping[str, Any], record: RequestRecord
    ) -> AsyncGenerator[bytes, None]:
        """A stream of whole NDJSON lines whose first has already arrived.

        Raises:
            AppError: whatever kept the first line away. A later failure is the stream's own last line.
        """
        return await primed(self._stream(operation, body, record))

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
        return not self._admission.draining and any(probe.reachable for probe in await self._pool.probe())

    async def _call(self, operation: Operation, body: Mapping[str, Any], record: RequestRecord) -> bytes:
        named = await self._name_model(body, record)
        candidates = await self._pool.candidates(named["model"])
        for backend in candidates[:-1]:
            try:
                return await _note(backend, record).call(operation, named, record)
            except _TRY_ANOTHER:
                continue
        return await _note(candidates[-1], record).call(operation, named, record)

    async def _stream(
        self, operation: Operation, body: Mapping[str, Any], record: RequestRecord
    ) -> AsyncGenerator[bytes, None]:
        with self._admission.admit(record) as generation:
            lines = self._lines(generation, operation, body)
            async with aclosing(relay(generation, lines, self._clocks)) as stream:
                async for chunk in stream:
                    yield chunk

    async def _lines(
        self, generation: Generation, operation: Operation, body: Mapping[str, Any]
    ) -> AsyncGenerator[bytes, None]:
        """The lines of the first backend that can be reached; another is tried only while no line has come."""
        record = generation.record
        named = await self._name_model(body, record)
        *others, final = await self._pool.candidates(named["model"])
        for backend in (*others, final):
            async with aclosing(_note(backend, record).stream(operation, named, record)) as lines:
                try:
                    first = await anext(lines, b"")
                except _TRY_ANOTHER:
                    if backend is final:
                        raise
                    continue
                if first:
                    yield first
                async for line in lines:
                    yield line
                return

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
