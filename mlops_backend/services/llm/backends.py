"""Backends: what the service can ask of an upstream server, whatever protocol that speaks.

Every backend takes and gives Ollama's own shapes. One of kind `ollama` relays bytes; one of kind `openai`
(`openai_backend.py`) translates.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Literal, Protocol
from urllib.parse import unquote, urlsplit

from pydantic_core import from_json

from mlops_backend.errors import AppError, BackendBusy, BackendFailed, BackendNonsense, BackendRejected
from mlops_backend.services.llm.dialects import ollama
from mlops_backend.services.llm.upstream import Reply, Target, Upstream, UpstreamResponse
from mlops_backend.telemetry.logging import mask_url
from mlops_backend.telemetry.record import RequestRecord

Operation = Literal["generate", "chat", "embed"]
Body = Mapping[str, Any]


class Backend(Protocol):
    """One upstream server."""

    @property
    def kind(self) -> Literal["ollama", "openai"]:
        """The protocol it speaks."""

    @property
    def address(self) -> str:
        """Its address, credentials masked: fit for logs and answers."""

    async def version(self) -> str:
        """Its version; raises an `AppError` when it does not answer."""

    async def tags(self) -> list[dict[str, Any]]:
        """Its models as `/api/tags` lists them; raises an `AppError` when it does not answer."""

    async def call(self, operation: Operation, body: Body, record: RequestRecord) -> bytes:
        """One whole answer in Ollama's shape; raises an `AppError`."""

    def stream(self, operation: Operation, body: Body, record: RequestRecord) -> AsyncGenerator[bytes, None]:
        """Whole NDJSON lines in Ollama's shape, as they arrive; raises an `AppError` from the first `anext` on."""


class OllamaBackend:
    """An Ollama: bytes go through as they came."""

    kind: Literal["ollama", "openai"] = "ollama"

    def __init__(self, url: str, upstream: Upstream) -> None:
        self._upstream = upstream
        self._target = target_of(url)
        self.address = mask_url(url)

    async def version(self) -> str:
        """What `/api/version` says."""
        return str((await self._get("/api/version")).get("version", ""))

    async def tags(self) -> list[dict[str, Any]]:
        """What `/api/tags` says."""
        models = (await self._get("/api/tags")).get("models")
        if not isinstance(models, list):
            raise BackendNonsense("The backend's list of models is not a list.")
        return [model for model in models if isinstance(model, dict)]

    async def call(self, operation: Operation, body: Body, record: RequestRecord) -> bytes:
        """The answer's bytes, unchanged."""
        content = _content(body, stream=False)
        reply = await self._upstream.request("POST", self._target, f"/api/{operation}", record, content)
        raise_for_status(reply)
        ollama.read_whole(reply.body, record)
        return reply.body

    async def stream(self, operation: Operation, body: Body, record: RequestRecord) -> AsyncGenerator[bytes, None]:
        """The stream's bytes, unchanged, cut behind newlines."""
        content = _content(body, stream=True)
        async with self._upstream.stream("POST", self._target, f"/api/{operation}", record, content) as response:
            await raise_for_stream(response)
            whole = ollama.WholeLines()
            async with aclosing(response.chunks()) as chunks:
                async for chunk in chunks:
                    if lines := whole.feed(chunk):
                        yield lines
            if rest := whole.finish():
                yield rest

    async def _get(self, path: str) -> dict[str, Any]:
        reply = await self._upstream.request("GET", self._target, path)
        raise_for_status(reply)
        return ollama.parse_object(reply.body)


def target_of(url: str) -> Target:
    """Split an address from its credentials, which become an `Authorization: Basic` header."""
    parts = urlsplit(url)
    if parts.username is None and parts.password is None:
        return Target(url, {})
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    authority = parts.netloc.rpartition("@")[2]
    basic = base64.b64encode(pair.encode()).decode()
    return Target(parts._replace(netloc=authority).geturl(), {"Authorization": f"Basic {basic}"})


def raise_for_status(reply: Reply) -> None:
    """Turn a backend's own error into one of ours.

    Raises:
        BackendRejected: a 4xx; the status is kept.
        BackendBusy: a 503.
        BackendFailed: another 5xx.
        BackendNonsense: a status that is no answer (1xx, 3xx).
    """
    if reply.status != 200:
        raise _refusal(reply)


async def raise_for_stream(response: UpstreamResponse) -> None:
    """The same for an answer whose body is still to be read."""
    if response.status != 200:
        raise_for_status(Reply(response.status, response.content_type, await response.read()))


def _refusal(reply: Reply) -> AppError:
    text = _text(reply)
    if reply.status in (401, 407):
        return BackendFailed("The backend refuses this service's credentials.")
    if 400 <= reply.status < 500:
        return BackendRejected(reply.status, text)
    if reply.status == 503:
        return BackendBusy(text)
    if reply.status >= 500:
        return BackendFailed(text)
    return BackendNonsense(f"The backend answered with status {reply.status}.")


def _text(reply: Reply) -> str:
    try:
        return ollama.error_text(from_json(reply.body))
    except (ValueError, AttributeError):
        return f"The backend answered with status {reply.status} and no readable reason."


def _content(body: Body, *, stream: bool) -> bytes:
    return json.dumps({**body, "stream": stream}, ensure_ascii=False, separators=(",", ":")).encode()
