"""A server on a real socket that records every request and notices at once when its client leaves."""

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.fakes.http11 import Connection, Request

BACKLOG = 2048


@dataclass(eq=False)
class Recorded:
    """One request as it arrived, and how it ended; times are those of `time.monotonic`.

    `finished` says that the whole reply was handed to the kernel.
    """

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    started: float
    disconnected_at: float | None = None
    finished: bool = False
    query: str = ""

    def header(self, name: str) -> str | None:
        """Return the first value of a header, if the request had it."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.body)


def recorded(request: Request) -> Recorded:
    """Return the record of a request that has just been read."""
    return Recorded(
        method=request.method,
        path=request.path,
        headers=request.headers,
        body=request.body,
        started=time.monotonic(),
        query=request.query,
    )


@dataclass(kw_only=True, eq=False)
class RecordingServer(ABC):
    """What every fake server does, whatever it answers.

    `active` and `max_active` count the requests that `counts` wants counted.
    """

    port: int = 0
    requests: list[Recorded] = field(init=False, default_factory=list)
    active: int = field(init=False, default=0)
    max_active: int = field(init=False, default=0)
    _server: asyncio.Server | None = field(init=False, default=None)
    _connections: set[asyncio.Task[None]] = field(init=False, default_factory=set)
    _changed: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _seen_requests: set[Recorded] = field(init=False, default_factory=set)
    _seen_disconnects: set[Recorded] = field(init=False, default_factory=set)
    _bugs: list[BaseException] = field(init=False, default_factory=list)

    @abstractmethod
    async def answer(self, connection: Connection, request: Request) -> None:
        """Answer one request; it is cancelled when the client leaves."""

    @abstractmethod
    def counts(self, request: Request) -> bool:
        """Return whether a request is counted in `active`."""

    def streams_body(self, request: Request) -> bool:
        """Return whether `answer` reads the body itself, piece by piece; its record has none then."""
        return False

    @property
    def url(self) -> str:
        """Where it listens; the port stays the same when it is stopped and started again."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many client connections are open now."""
        return len(self._connections)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if self._bugs:
            raise self._bugs[0]

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=BACKLOG)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut every connection, as a killed server does."""
        if self._server is None:
            return
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await asyncio.sleep(0)  # the sockets are closed by callbacks, which Python 3.11 does not wait for
        await self._server.wait_closed()
        self._server = None

    async def wait_for_request(self, path: str | None = None, timeout: float = 60) -> Recorded:
        """Return the next request, in order of arrival, that no earlier call of this returned."""
        return await self._next(self._seen_requests, lambda record: path in (None, record.path), timeout)

    async def wait_for_disconnect(self, timeout: float = 60) -> Recorded:
        """Return the next request whose client left, that no earlier call of this returned."""
        return await self._next(self._seen_disconnects, lambda record: record.disconnected_at is not None, timeout)

    async def wait_until(self, condition: Callable[[], bool], timeout: float = 60) -> None:
        """Return when the condition holds; it is tried after every request, piece of an upload, answer and hang-up."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def _next(self, seen: set[Recorded], wanted: Callable[[Recorded], bool], timeout: float) -> Recorded:
        def fresh() -> Recorded | None:
            return next((record for record in self.requests if record not in seen and wanted(record)), None)

        await self.wait_until(lambda: fresh() is not None, timeout)
        found = fresh()
        assert found is not None
        seen.add(found)
        return found

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(Connection(reader, writer)))
        self._connections.add(task)
        task.add_done_callback(self._gone)

    def _gone(self, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        if not task.cancelled() and (bug := task.exception()):
            self._bugs.append(bug)
        self._changed.set()

    async def _serve(self, connection: Connection) -> None:
        try:
            while (request := await connection.read_request(self.streams_body)) is not None:
                record = await self._attend(connection, request)
                if not record.finished or connection.unread or request.header("connection").lower() == "close":
                    break
            if connection.unread and not connection.dropped:
                await connection.linger()
        finally:
            connection.drop()

    async def _attend(self, connection: Connection, request: Request) -> Recorded:
        record = recorded(request)
        self.requests.append(record)
        answer = asyncio.ensure_future(self._answer_counted(connection, request, record))
        hang_up = asyncio.ensure_future(connection.hung_up())
        try:
            await asyncio.wait({answer, hang_up}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                record.disconnected_at = time.monotonic()
        finally:
            answer.cancel()
            hang_up.cancel()
            outcome, _ = await asyncio.gather(answer, hang_up, return_exceptions=True)
        if isinstance(outcome, Exception):
            raise outcome
        return record

    async def _answer_counted(self, connection: Connection, request: Request, record: Recorded) -> None:
        """Answer. No await stands between the last byte and the books, so a client never finds them late."""
        counted = self.counts(request)
        self.active += counted
        self.max_active = max(self.max_active, self.active)
        self._changed.set()
        try:
            await self.answer(connection, request)
            record.finished = not connection.dropped
        except ConnectionError:
            record.disconnected_at = time.monotonic()
        finally:
            self.active -= counted
            self._changed.set()
