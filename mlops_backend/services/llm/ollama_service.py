"""The one door to inference: what the blueprints call."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from time import perf_counter
from typing import Any, TypeVar

from mlops_backend.errors import (
    AppError,
    BackendBusy,
    BackendRefused,
    BackendUnresolvable,
    ConnectTimedOut,
    InvalidBody,
)
from mlops_backend.services.llm.admission import Admission
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.backends import Backend, Operation
from mlops_backend.services.llm.catalogue import Catalogue
from mlops_backend.services.llm.dialects.compact import dumped
from mlops_backend.services.llm.dialects.endings import generation_ending
from mlops_backend.services.llm.dialects.go_json import folded
from mlops_backend.services.llm.dialects.ollama import check_first
from mlops_backend.services.llm.forwarding import Forwarded, Forwarder
from mlops_backend.services.llm.model_names import ModelRules
from mlops_backend.services.llm.relay import Clocks, Opened, first_byte_late, relay
from mlops_backend.services.llm.routing import BackendPool
from mlops_backend.services.llm.token_estimate import estimate_prompt_tokens
from mlops_backend.telemetry.record import RequestRecord

T = TypeVar("T")

_TRY_ANOTHER = (BackendRefused, BackendUnresolvable, ConnectTimedOut, BackendBusy)
_READ_BY_BACKENDS = ("model", "stream")
_NO_SUCH_ROUTE = 404
_NO_SUCH_CALL = 501
_ESTIMATED = (("Content-Type", "application/json"), ("X-Token-Count", "estimated"))


class OllamaService:
    """Generations, models and health over all backends.

    Args:
        pool: the backends.
        admission: which generations run.
        clocks: how long they may wait.
        default_model: for a request that names none; empty: the only one there is.
        rules: which models may be named.
    """

    def __init__(
        self, pool: BackendPool, admission: Admission, clocks: Clocks, default_model: str, rules: ModelRules
    ) -> None:
        self._pool = pool
        self._admission = admission
        self._clocks = clocks
        self._default_model = default_model
        self._rules = rules
        self._catalogue = Catalogue(pool)
        self._forwarder = Forwarder(pool, admission, clocks)

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
        record.count_prompt = lambda: estimate_prompt_tokens(dumped(body))
        stream = relay(
            self._admission,
            record,
            lambda stack: self._open(operation, body, record, stack),
            self._clocks,
            generation_ending(),
        )
        await anext(stream)
        return stream

    async def forward(self, asked: Asked, record: RequestRecord) -> Forwarded:
        """What a backend answers to a drop-in request, byte for byte; its first bytes have already arrived.

        Raises:
            Forbidden: a model that may not be named.
            AppError: whatever kept the answer away. A stream's later failure is its own last frame.
        """
        self._rules.check(asked.models)
        if (merged := await self._catalogue.answer(asked.path)) is not None:
            return Forwarded(200, (("Content-Type", "application/json; charset=utf-8"),), dumped(merged))
        return await self._forwarder.forward(asked, record)

    async def count_tokens(self, asked: Asked, record: RequestRecord) -> Forwarded:
        """How many tokens a prompt has: what a backend says, or an honest estimate where it has no such route.

        Raises:
            AppError: whatever kept the answer away.
        """
        try:
            answered = await self.forward(asked, record)
        except AppError as error:
            if error.status != _NO_SUCH_CALL:
                raise
            answered = Forwarded(404)
        if answered.status != _NO_SUCH_ROUTE or answered.content_type.startswith("application/json"):
            return answered
        content = asked.content if isinstance(asked.content, bytes) else b""
        record.outcome = "done"
        return Forwarded(200, _ESTIMATED, dumped({"input_tokens": estimate_prompt_tokens(content)}))

    async def models(self) -> dict[str, Any]:
        """Every model of every reachable backend; see `Catalogue.models`."""
        return await self._catalogue.models()

    async def health(self) -> dict[str, Any]:
        """How each backend is; see `Catalogue.health`."""
        return await self._catalogue.health()

    async def ready(self) -> bool:
        """Whether a new generation would be taken: not draining, and some backend answers."""
        return not self._admission.draining and await self._pool.any_reachable()

    async def _call(self, operation: Operation, body: Mapping[str, Any], record: RequestRecord) -> bytes:
        named = await self._name_model(body, record)
        return await self._first_that_can(named, record, lambda backend: backend.call(operation, named, record))

    async def _open(
        self, operation: Operation, body: Mapping[str, Any], record: RequestRecord, stack: AsyncExitStack
    ) -> Opened:
        named = await self._name_model(body, record)

        async def begun(backend: Backend) -> Opened:
            lines = backend.stream(operation, named, record)
            stack.push_async_callback(lines.aclose)
            first = await anext(lines, b"")
            check_first(first)
            return lines, first

        return await self._first_that_can(named, record, begun)

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
        self._rules.check([model])
        record.model = model
        return {**_without_variants(body), "model": model}

    async def _only_model(self) -> str:
        names = [str(model.get("name", "")) for model in (await self.models())["models"]]
        if len(names) != 1:
            many = "several models are available" if names else "the backend has no model"
            detail = {"loc": ["model"], "msg": f"Name a model: {many}.", "type": "missing"}
            raise InvalidBody("The body names no model, and there is no single one to take instead.", [detail])
        return names[0]


def _without_variants(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body without other spellings of what was read here: Ollama would take a `Model` for the model."""
    return {name: value for name, value in body.items() if name in _READ_BY_BACKENDS or not _is_variant(name)}


def _is_variant(name: str) -> bool:
    return folded(name) in _READ_BY_BACKENDS


def _note(backend: Backend, record: RequestRecord) -> Backend:
    record.backend = backend.address
    return backend
