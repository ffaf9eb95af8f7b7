"""Ollama's own routes, served by a backend that speaks the OpenAI API."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, Literal, Protocol

from mlops_backend.aside import aside
from mlops_backend.errors import BadRequest, NotImplementedHere
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.backends.backend import Answer, Body, Operation
from mlops_backend.services.llm.backends.ways import over
from mlops_backend.services.llm.dialects import check_first, dumped
from mlops_backend.services.llm.dialects.native import LineTranslator
from mlops_backend.services.llm.dialects.openai import COMPLETION_PATH, flag, named, read_body
from mlops_backend.services.llm.dialects.openai import requests as openai_requests
from mlops_backend.services.llm.upstream import Tap
from mlops_backend.telemetry.record import RequestRecord

JSON: Final = "application/json; charset=utf-8"
NDJSON: Final = "application/x-ndjson"
_CONVERSING: Final[Mapping[str, Literal["generate", "chat"]]] = {"/api/generate": "generate", "/api/chat": "chat"}
_ASKED_WHOLE: Final = ("/api/embed", "/api/embeddings", "/api/show")
_COPILOT: Final = "GitHubCopilotChat/"
_FIXED: Final = "This backend serves the models that it was started with"
_REASONS: Final = {
    "/api/pull": f"{_FIXED}: none can be pulled into it.",
    "/api/push": f"{_FIXED}: none can be pushed from it.",
    "/api/create": f"{_FIXED}: none can be created in it.",
    "/api/copy": f"{_FIXED}: none can be copied in it.",
    "/api/delete": f"{_FIXED}: none can be deleted from it.",
    "/api/blobs": f"{_FIXED}: it takes no blobs.",
    "/api/me": "This backend has no account at ollama.com.",
    "/api/signout": "This backend has no account at ollama.com.",
    "/api/user": "This backend has no account at ollama.com.",
}


class Translating(Protocol):
    """What a backend can be asked in Ollama's shapes."""

    async def call(self, operation: Operation, body: Body, record: RequestRecord) -> bytes:
        """One whole answer."""

    def stream(
        self, operation: Operation, body: Body, record: RequestRecord, tap: Tap, events: LineTranslator | None
    ) -> AsyncGenerator[bytes, None]:
        """Whole NDJSON lines; opens `tap` for those that follow, or for what `events` makes of them."""

    async def embedding(self, body: Body, record: RequestRecord) -> dict[str, Any]:
        """One text's vector as `/api/embeddings` gives it."""

    async def show(self, name: str) -> dict[str, Any]:
        """One model as `/api/show` describes it."""


@asynccontextmanager
async def translated(
    backend: Translating, asked: Asked, record: RequestRecord, events: LineTranslator | None = None
) -> AsyncIterator[Answer]:
    """What Ollama would answer, made of what `backend` does; `events` is what its tap makes of the lines.

    Raises, when entered:
        BadRequest: a body that Ollama would refuse as well.
        NotImplementedHere: a route that has no meaning here.
        AppError: whatever kept the answer away.
    """
    operation = _CONVERSING.get(asked.path)
    if operation is None:
        yield await _whole(backend, asked, record)
        return
    record.translate(asked.path, over("openai", asked.path))
    body = await body_of(asked)
    if body.get("raw") or body.get("suffix"):
        record.translate(asked.path, COMPLETION_PATH)
    if operation == "chat":
        _require_model(body)
    # What only loads or unloads is one object, streamed or not.
    if openai_requests.load_reason(operation, body) or not flag(body, "stream", default=True):
        yield _answer(await backend.call(operation, body, record), JSON)
        return
    tap = Tap()
    async with aclosing(backend.stream(operation, body, record, tap, events)) as lines:
        begun = _looked_at(await anext(lines, None), lines)
        yield Answer(200, (("Content-Type", NDJSON),), NDJSON, begun, is_looked_at=True, tap=tap)


async def body_of(asked: Asked) -> dict[str, Any]:
    """What it was sent, as `read_body` has it; a large one is read aside."""
    content = asked.content
    return await aside(len(content) if isinstance(content, bytes) else 0, read_body, content)


def whole(value: Mapping[str, Any]) -> Answer:
    """A whole answer made here."""
    return _answer(dumped(value), JSON)


def not_here(path: str) -> NotImplementedHere:
    """The refusal of a route, in a sentence that fits it."""
    for start, reason in _REASONS.items():
        if path == start or path.startswith(start + "/"):
            return NotImplementedHere(reason)
    return NotImplementedHere(f"This backend has nothing to answer {path} with.")


async def _whole(backend: Translating, asked: Asked, record: RequestRecord) -> Answer:
    if asked.path in _ASKED_WHOLE:
        record.translate(asked.path, over("openai", asked.path))
    match asked.path:
        case "/api/embed":
            return _answer(await backend.call("embed", await body_of(asked), record), JSON)
        case "/api/embeddings":
            body = await body_of(asked)
            _require_model(body)
            return whole(await backend.embedding(body, record))
        case "/api/show":
            return whole(await _shown(backend, asked))
    raise not_here(asked.path)


async def _shown(backend: Translating, asked: Asked) -> dict[str, Any]:
    body = read_body(asked.content)
    _require_model(body, "model", "name")
    name = named(body, "model", "name")
    shown = await backend.show(name)
    if any(key.lower() == "user-agent" and value.startswith(_COPILOT) for key, value in asked.headers):
        shown["model_info"]["general.basename"] = name  # as Ollama does: Copilot shows it to its user
    return shown


def _require_model(body: dict[str, Any], *names: str) -> None:
    if not named(body, *names):
        raise BadRequest("model is required")


def _answer(content: bytes, content_type: str) -> Answer:
    return Answer(200, (("Content-Type", content_type),), content_type, _once(content))


async def _once(content: bytes) -> AsyncGenerator[bytes, None]:
    yield content


async def _looked_at(piece: bytes | None, lines: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The lines behind what has come of them, once the first one tells of no failure; it may be long in coming."""
    while not piece:
        if piece is None:
            check_first(b"")
        yield b""
        piece = await anext(lines, None)
    check_first(piece)
    yield piece
    async for line in lines:
        yield line
