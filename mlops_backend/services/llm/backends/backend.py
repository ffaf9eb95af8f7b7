"""Backends: what the service can ask of an upstream server, whatever protocol that speaks.

One of kind `ollama` (`ollama.py`) relays bytes; one of kind `openai` (`openai.py`) relays the routes of OpenAI and
Anthropic, and translates those of Ollama.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol
from urllib.parse import unquote, urlsplit

from mlops_backend.errors import BackendNonsense
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.upstream import Pairs, Tap, Target, Upstream, for_client, gathered
from mlops_backend.telemetry.record import RequestRecord

Operation = Literal["generate", "chat", "embed"]
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """A backend's answer to a drop-in request: its body is still to be read, and `chunks` to be closed.

    `lacks_model` marks a refusal that says so in other words than a 404, and `refuses_instructions` one of those that
    stand behind a conversation's beginning; `tap` gives the same chunks the short way,
    where there is one, and `read` all of them at once. One that `is_looked_at` fails before its first piece if that
    tells of a failure, and gives empty ones until it comes.
    """

    status: int
    headers: Pairs
    content_type: str
    chunks: AsyncGenerator[bytes, None]
    lacks_model: bool = False
    refuses_instructions: bool = False
    is_looked_at: bool = False
    tap: Tap = field(default_factory=Tap)
    read: Callable[[], Awaitable[bytes]] | None = None

    async def whole(self) -> bytes:
        """The whole body; raises what its chunks raise, and `BackendNonsense` where it is too large."""
        return await (gathered(self.chunks) if self.read is None else self.read())

    def changed(self, chunks: AsyncGenerator[bytes, None]) -> Answer:
        """The answer with another body, made of its own: `tap` would give what it was made of."""
        return replace(self, chunks=chunks, tap=Tap(), read=None)


class Backend(Protocol):
    """One upstream server."""

    @property
    def kind(self) -> Literal["ollama", "openai"]:
        """The protocol it speaks."""

    @property
    def address(self) -> str:
        """Its address, credentials masked: fit for logs and answers."""

    @property
    def note(self) -> str:
        """What its operator should know of it although it answers, in a sentence; empty for nothing."""

    async def version(self) -> str:
        """Its version; raises an `AppError` when it does not answer."""

    async def tags(self) -> list[dict[str, Any]]:
        """Its models as `/api/tags` lists them; raises an `AppError` when it does not answer."""

    async def running(self) -> list[dict[str, Any]]:
        """Its loaded models as `/api/ps` lists them; raises an `AppError` when it does not answer."""

    def aliases(self) -> frozenset[str]:
        """Further names, as `canonical` spells them, of the models that it listed last."""

    def described(self, name: str) -> Mapping[str, Any] | None:
        """A model as the server's own `/v1/models` describes it, where it says more than OpenAI's fields."""

    def forward(self, asked: Asked, record: RequestRecord) -> AbstractAsyncContextManager[Answer]:
        """Ask it what a client of Ollama, OpenAI or Anthropic asked, and give its answer, an error's status included.

        Raises, when entered, an `AppError` when it does not answer, or when this kind of backend has no such route.
        """


@asynccontextmanager
async def passed_on(
    upstream: Upstream,
    target: Target,
    asked: Asked,
    record: RequestRecord,
    shape: Callable[[bytes], bytes] | None = None,
) -> AsyncIterator[Answer]:
    """A backend's answer to a client's request, as it comes; `shape` is what its tap makes of each piece.

    Raises, when entered:
        BackendNonsense: it points elsewhere.
        AppError: whatever kept the answer away.
    """
    async with upstream.stream(asked.method, target, asked.path, record, asked.content, asked.headers) as response:
        if 300 <= response.status < 400:
            raise BackendNonsense(f"The backend answered with status {response.status}.")
        answer = Answer(
            response.status,
            for_client(response.headers),
            response.content_type,
            response.chunks(),
            read=response.read,
        )
        response.open(answer.tap, shape)
        yield answer


async def once(chunk: bytes) -> AsyncGenerator[bytes, None]:
    """A body that has come whole."""
    yield chunk


def target_of(url: str, host_header: str = "", key: str = "") -> Target:
    """Split an address from its credentials, which become an `Authorization: Basic` header.

    `host_header` replaces the `Host` that the address would give: an Ollama behind a tunnel wants to be called by a
    local name. A `key`, for an address without credentials, travels as a bearer's token.
    """
    own = {"Host": host_header} if host_header else {}
    if key:
        own["Authorization"] = f"Bearer {key}"
    parts = urlsplit(url)
    if parts.username is None and parts.password is None:
        return Target(url, own)
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    authority = parts.netloc.rpartition("@")[2]
    basic = base64.b64encode(pair.encode()).decode()
    return Target(parts._replace(netloc=authority).geturl(), {**own, "Authorization": f"Basic {basic}"})
