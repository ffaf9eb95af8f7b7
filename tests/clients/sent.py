"""What the service sent: every answer is kept as it left, and its text is read out of it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mlops_backend.middleware.asgi import STRAIGHT
from mlops_backend.telemetry.record import Straight

Event = dict[str, Any]
Send = Callable[[Event], Awaitable[None]]


@dataclass
class Answer:
    """One answer: to which path, with which status, its bytes, which way it came, and what was asked.

    `translated` is `X-Translated`: the client's route and the backend's, or nothing where they are the same.
    """

    path: str
    status: int = 0
    body: bytes = b""
    translated: str = ""
    asked: bytes = b""

    @property
    def text(self) -> str:
        """What the model said in it, in whichever protocol."""
        return "".join(map(said_in, _objects(self.body)))


@dataclass
class _Seen:
    """The short way of a stream's pieces, past all applications, with an eye on it."""

    way: Straight
    answer: Answer

    def may_send(self) -> bool:
        """As the way itself says."""
        return self.way.may_send()

    def send(self, piece: bytes) -> bool:
        """Keep a piece, and send it."""
        self.answer.body += piece
        return self.way.send(piece)


@dataclass
class Kept:
    """An ASGI application around another, that keeps the answers, also what is sent past it."""

    application: Any
    answers: list[Answer] = field(default_factory=list)

    async def __call__(self, scope: Event, receive: Any, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        answer = Answer(scope["path"])
        self.answers.append(answer)

        async def read() -> Event:
            event: Event = await receive()
            answer.asked += event.get("body", b"")
            return event

        async def keep(event: Event) -> None:
            answer.status = event.get("status", answer.status)
            answer.translated += dict(event.get("headers", ())).get(b"x-translated", b"").decode()
            answer.body += event.get("body", b"")
            await send(event)

        way = STRAIGHT.get()
        token = STRAIGHT.set(_Seen(way, answer) if way else None)
        try:
            await self.application(scope, read, keep)
        finally:
            STRAIGHT.reset(token)


def _objects(body: bytes) -> Iterator[Event]:
    for line in body.splitlines():
        try:
            value = json.loads(line.removeprefix(b"data: "))
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value


def said_in(told: Event) -> str:
    """The text of one object of an answer, whole or a part of a stream."""
    match told:
        case {"type": "content_block_delta", "delta": {"text": str(text)}}:
            return text
        case {"type": "response.output_text.delta", "delta": str(text)}:
            return text
        case {"type": "message", "content": [*parts]}:
            return "".join(part.get("text", "") for part in parts)
        case {"object": "response", "output": [*items]}:
            parts = [part for item in items for part in item.get("content", [])]
            return "".join(part.get("text", "") for part in parts)
        case {"message": {"content": str(text)}} | {"response": str(text)}:
            return text
        case {"choices": [{"delta": {"content": str(text)}}, *_]}:
            return text
        case {"choices": [{"message": {"content": str(text)}}, *_]} | {"choices": [{"text": str(text)}, *_]}:
            return text
    return ""
