"""HTTP/1.1, as Hypercorn speaks it, and nothing else.

HTTP/2 without TLS is for a proxy in front: Hypercorn 0.18 knows no back-pressure in it. Its preface is refused, and an
`Upgrade` is ignored, as RFC 9110 (7.8) lets a server do: what asks for a websocket gets the answer of a plain request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import Any, Final

import h11
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Request, Response, StreamClosed
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.utils import build_and_validate_headers

from mlops_backend.connections.whole import Headers, with_whole_answers
from mlops_backend.middleware.asgi import WHOLE
from mlops_backend.services.llm.dialects import dumped

_FRAMING: Final = (b"content-length", b"transfer-encoding")
_SENTENCES: Final = {
    400: "The request is not HTTP/1.1.",
    431: "The request's head is too long.",
    501: "The request's Transfer-Encoding is not known.",
    505: "This address speaks HTTP/1.1; a proxy in front of it may speak HTTP/2.",
}
_VERSION_NOT_SUPPORTED: Final = 505


class _Refused(Exception):
    """A request that gets an error instead of a stream."""


@dataclass(frozen=True, slots=True)
class WholeAnswer(Event):
    """Head and body of an answer."""

    data: bytes


class Http1(H11Protocol):
    """One connection's requests, one after the other."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        assert isinstance(self.connection, h11.Connection)  # noqa: S101 - no websocket has begun
        self._answers = with_whole_answers(self.connection)

    async def handle(self, event: Event) -> None:
        """Take bytes, or the end of the connection."""
        try:
            await super().handle(event)
        except _Refused:
            await self._send_error_response(_VERSION_NOT_SUPPORTED)
            await self.send(Closed())

    @property
    def wants_more(self) -> bool:
        """Whether a request has begun whose body is not here yet."""
        return self.stream is not None and self.connection.their_state is h11.SEND_BODY

    async def stream_send(self, event: StreamEvent) -> None:
        """Send a part of an answer. One that is made before its request is all there is its connection's last.

        A proxy may give up a body whose request has been answered. Should it ask another client's request on that
        connection, that would be read as the rest of the body.
        """
        if isinstance(event, Response) and event.status_code >= HTTPStatus.OK and self.wants_more:
            event = replace(event, headers=[*event.headers, (b"connection", b"close")])
        if isinstance(event, Response) and self.keep_alive_requests < self.config.keep_alive_max_requests:
            head = self._answers.frame_head(event.status_code, [*event.headers, *_own_headers(self.config)])
            if head is not None:
                await self.send(RawData(head))
                return
        await super().stream_send(event)

    async def send_whole(self, status: int, headers: Headers, body: bytes) -> bool:
        """Send a whole answer at once, as the event by event way does; whether that can be done."""
        if self.keep_alive_requests >= self.config.keep_alive_max_requests:
            return False
        framed = self._answers.frame(status, [*headers, *_own_headers(self.config)], body)
        if framed is not None:
            await self.send(WholeAnswer(framed))
        return framed is not None

    async def _check_protocol(self, event: h11.Request) -> None:
        if not event.http_version.startswith(b"1."):
            raise _Refused
        # Whoever sends two framings may mean another request by what follows (RFC 9112, 6.1).
        framed = {name for name, _ in event.headers if name in _FRAMING}
        if len(framed) == len(_FRAMING):
            self.keep_alive_requests = self.config.keep_alive_max_requests  # Hypercorn closes behind the answer

    async def _create_stream(self, request: h11.Request) -> None:
        self.stream = Stream(
            self.send_whole,
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1
        await self.context.mark_request()

    async def _send_error_response(self, status_code: int) -> None:
        """Answer what never became a request: no byte of it stands in the answer."""
        body = error_body(status_code)
        headers: Any = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


class Stream(HTTPStream):
    """Hypercorn's request and its answer; an answer that is whole leaves at once.

    Args:
        whole: sends status, headers and body; whether it could.
        args: what Hypercorn gives to an `HTTPStream`.
    """

    def __init__(self, whole: Callable[[int, Headers, bytes], Awaitable[bool]], *args: Any) -> None:
        super().__init__(*args)
        self._send_whole = whole
        self._head: Any = None

    async def app_send(self, message: Any) -> None:
        """Take what the application sends; `None` behind all of it."""
        if self._head is not None:
            head, self._head = self._head, None
            if message is not None and await self._sent(head, message.get("body", b"")):
                return
            await super().app_send(head)
        elif message is not None and WHOLE in message and self.state is ASGIHTTPState.REQUEST:
            self._head = message  # its body is the next
            return
        await super().app_send(message)

    async def _sent(self, head: Any, body: bytes) -> bool:
        if not await self._send_whole(head["status"], build_and_validate_headers(head["headers"]), body):
            return False
        self.response, self.state = head, ASGIHTTPState.CLOSED
        await self.config.log.access(self.scope, head, time() - self.start_time)
        await self.send(StreamClosed(self.stream_id))
        return True


def _own_headers(config: Config) -> Headers:
    """What Hypercorn adds to each answer; it changes with the second."""
    return _headers_of(config, int(time()))


@lru_cache(maxsize=4)
def _headers_of(config: Config, second: int) -> Headers:
    return tuple(config.response_headers("h11"))


def error_body(status: int, sentence: str = "") -> bytes:
    """An error of a connection in our own shape; it has no request id, for there was no request."""
    phrase = HTTPStatus(status).phrase
    text = sentence or _SENTENCES.get(status, f"{phrase}.")
    return dumped({"error": text, "code": phrase.lower().replace(" ", "_")})
