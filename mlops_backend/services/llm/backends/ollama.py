"""An Ollama: bytes go through as they came, but for what its routes of other APIs cannot do, or it lacks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final, Literal

from mlops_backend.errors import BackendNonsense, BackendRefused
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.backends.backend import Answer, once, passed_on, target_of
from mlops_backend.services.llm.backends.missing_routes import MissingRoutes
from mlops_backend.services.llm.backends.native_drop_in import carried
from mlops_backend.services.llm.backends.statuses import is_missing_route, raise_for_status
from mlops_backend.services.llm.dialects import ollama
from mlops_backend.services.llm.dialects.native import ROUTES, LineTranslator
from mlops_backend.services.llm.upstream import Upstream
from mlops_backend.telemetry.logging import mask_url
from mlops_backend.telemetry.record import RequestRecord

_NOT_FOUND: Final = 404


class OllamaBackend:
    """An Ollama; see `target_of` for the arguments."""

    kind: Literal["ollama", "openai"] = "ollama"
    note = ""

    def __init__(self, url: str, upstream: Upstream, host_header: str = "", key: str = "") -> None:
        self._upstream = upstream
        self._target = target_of(url, host_header, key)
        self.address = mask_url(url)
        self._version = ""
        self._missing = MissingRoutes()

    async def version(self) -> str:
        """What `/api/version` says."""
        self._version = str((await self._get("/api/version")).get("version", ""))
        return self._version

    async def tags(self) -> list[dict[str, Any]]:
        """What `/api/tags` says."""
        return await self._models("/api/tags")

    async def running(self) -> list[dict[str, Any]]:
        """What `/api/ps` says."""
        return await self._models("/api/ps")

    def aliases(self) -> frozenset[str]:
        """Ollama lists a model under each of its names."""
        return frozenset()

    def described(self, name: str) -> Mapping[str, Any] | None:
        """Ollama's list says no more."""
        return None

    def forward(self, asked: Asked, record: RequestRecord) -> AbstractAsyncContextManager[Answer]:
        """The answer as it comes: nothing is read or changed but what is between this service and its backend.

        Routes of OpenAI and Anthropic are carried over Ollama's own where something is pinned of the model, and where
        it lacks them.
        """
        is_carried = asked.path in ROUTES and asked.readable is not False and asked.content
        return self._drop_in(asked, record) if is_carried else self._passed_on(record, asked)

    def _passed_on(
        self, record: RequestRecord, asked: Asked, events: LineTranslator | None = None
    ) -> AbstractAsyncContextManager[Answer]:
        return passed_on(self._upstream, self._target, asked, record, events.feed if events else None)

    @asynccontextmanager
    async def _drop_in(self, asked: Asked, record: RequestRecord) -> AsyncIterator[Answer]:
        """By the route of that name, or carried where it has none, as it may not have before it is another version."""
        if asked.pin is None and not self._missing.has(asked.path, self._version):
            async with self._passed_on(record, asked) as answer:
                body = await answer.whole() if answer.status == _NOT_FOUND else b""
                if not is_missing_route(answer.status, body):
                    yield answer.changed(once(body)) if body else answer
                    return
            self._missing.note(asked.path, self._version)
        async with carried(partial(self._passed_on, record), self.kind, asked, record) as answer:
            yield answer

    async def _models(self, path: str) -> list[dict[str, Any]]:
        models = (await self._get(path)).get("models")
        if not isinstance(models, list):
            raise BackendNonsense("The backend's list of models is not a list.")
        return [model for model in models if isinstance(model, dict)]

    async def _get(self, path: str) -> dict[str, Any]:
        reply = await self._upstream.request("GET", self._target, path)
        raise_for_status(reply)
        return ollama.parse_object(reply.body)


class AbsentOllama(OllamaBackend):
    """One that nobody chose and nobody found; while nothing listens there, the error says what to do.

    Args:
        url: its address.
        upstream: the HTTP client.
        host_header: see `target_of`.
        advice: one sentence for whoever started this service.
    """

    def __init__(self, url: str, upstream: Upstream, host_header: str, advice: str) -> None:
        super().__init__(url, upstream, host_header)
        self._advice = advice

    @asynccontextmanager
    async def forward(self, asked: Asked, record: RequestRecord) -> AsyncIterator[Answer]:
        """What the Ollama answers that was started in the meantime."""
        async with self._advised(), super().forward(asked, record) as answer:
            yield answer

    async def _get(self, path: str) -> dict[str, Any]:
        async with self._advised():
            return await super()._get(path)

    @asynccontextmanager
    async def _advised(self) -> AsyncIterator[None]:
        try:
            yield
        except BackendRefused as error:
            raise BackendRefused(f"{error.message} {self._advice}") from None
