"""Requests that go on without their clients: what they are answered goes into a journal, for whoever reads it.

Such a request passes all that a client's own passes: its key, limits, the queue, the ledger. A client that leaves
is one that nobody reads any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from mlops_backend.errors import GenerationCancelled
from mlops_backend.middleware.asgi import CLIENT_LEFT, App, ClientLeft, Message, Scope
from mlops_backend.middleware.request_context import ADMITTED, record_of
from mlops_backend.services.llm.dialects import error_line
from mlops_backend.services.other.journals import Head, Journals, Opening, Writer

T = TypeVar("T")

# What is of one request alone, and of its body.
_OWN: Final = "mlops_backend."
_OF_ITS_BODY: Final = frozenset({b"content-length", b"transfer-encoding", b"expect"})
_REFUSED: Final = 400
_UNREAD: Final = "This was cancelled, since nobody read it for STREAM_GRACE seconds."


class Admitted(asyncio.Event):
    """That a request is answered, or that nothing refuses it any more but a backend, as `by_admission` says.

    `headers` tell of limits then. `large` is a whole answer that is too long for a journal: it is for who asked first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.headers: Mapping[str, str] = {}
        self.by_admission = False
        self.large: bytes | None = None

    def tell(self, scope: Scope) -> None:
        """It is."""
        self.headers = record_of(scope).answer_headers
        self.by_admission = True
        self.set()


@dataclass(frozen=True, slots=True)
class Detached:
    """One such request: as the one at hand, but for these.

    `headers` take the place of those of the same names, in lower case; one that is empty only takes it. `by_line` says
    that each line of the answer is a piece of its own.
    """

    scope: Scope
    path: str
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()
    by_line: bool = False

    def asked(self, admitted: Admitted) -> Scope:
        """The connection that is served for it."""
        kept = {name: value for name, value in self.scope.items() if not name.startswith(_OWN)}
        named = {name for name, _ in self.headers} | _OF_ITS_BODY
        headers = [each for each in self.scope["headers"] if each[0] not in named]
        length = (b"content-length", b"%d" % len(self.body))
        scope = {
            **kept,
            "path": self.path,
            "raw_path": self.path.encode(),
            "headers": [*headers, *(each for each in self.headers if each[1]), length],
        }
        scope[ADMITTED] = partial(admitted.tell, scope)
        return scope


class DetachedRequests:
    """Runs them, each in a task of its own.

    Args:
        app: answers them.
        journals: where the answers go.
        grace: seconds for which nobody may read one that runs.
        most: bytes of a whole answer that goes into a journal.
    """

    def __init__(self, app: App, journals: Journals, grace: float, most: int) -> None:
        self._app = app
        self._journals = journals
        self._grace, self._most = grace, most
        self._running: set[asyncio.Task[Any]] = set()

    async def begin(self, opening: Opening, request: Detached) -> tuple[Opening, Admitted | None]:
        """Begin one, unless another one has its claim; the client may leave meanwhile.

        Returns:
            What `Journals.begin` does; and what tells that this one is admitted, where it was begun.

        Raises:
            AppError: what `Journals.begin` raises.
        """
        admitted = Admitted()
        held = await asyncio.shield(self._start(self._begun(opening, request, admitted)))
        return held, admitted if held.id == opening.id else None

    def __len__(self) -> int:
        """How many run."""
        return len(self._running)

    async def finish(self, seconds: float) -> None:
        """Wait until what runs has ended, for at most `seconds`."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)

    async def _begun(self, opening: Opening, request: Detached, admitted: Admitted) -> Opening:
        held = await self._journals.begin(opening)
        if held.id == opening.id:
            self._start(self._run(opening.id, request, admitted))
        return held

    def _start(self, step: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """In a context of its own: nothing of the request at hand, or of its connection, is of this one."""
        task = asyncio.get_running_loop().create_task(step, context=Context())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _run(self, journal: str, request: Detached, admitted: Admitted) -> None:
        left = ClientLeft()
        CLIENT_LEFT.set(left)
        writer = Writer(self._journals, journal, self._grace, left.set)
        scope, by_line = request.asked(admitted), request.by_line
        arriving, answer = _Arriving(request.body, left), _Answer(writer, admitted, self._most, by_line=by_line)
        del request  # its body is held, and counted, where it is read
        outcome = "error"
        try:
            await self._app(scope, arriving.receive, answer.send)
            outcome = record_of(scope).outcome
            if left.is_set() and by_line:
                await writer.add([error_line(GenerationCancelled(_UNREAD), record_of(scope).id)])
        finally:
            is_kept = outcome == "done" and answer.status < _REFUSED and admitted.large is None
            await writer.close(outcome, keeps_claim=is_kept)
            admitted.set()


class _Arriving:
    """A body that is here, whole."""

    def __init__(self, body: bytes, left: ClientLeft) -> None:
        self._body: bytes | None = body
        self._left = left

    async def receive(self) -> Message:
        """The body, and then that the client has left, once it has."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}


class _Answer:
    """Takes the answer."""

    def __init__(self, writer: Writer, admitted: Admitted, most: int, *, by_line: bool) -> None:
        self._writer, self._most = writer, most
        self._large: list[bytes] | None = None
        self._admitted = admitted
        self._by_line = by_line
        self._held = b""
        self.status = 0

    async def send(self, message: Message) -> None:
        """A part of it."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
            self._writer.begin(Head(self.status, headers))
            self._large = [] if length_of(headers) > self._most else None
            if self.status < _REFUSED:
                self._admitted.set()  # a refusal is whole first
            return
        body, is_last = message.get("body", b""), not message.get("more_body", False)
        if self._large is not None:
            self._large.append(body)
            self._admitted.large = b"".join(self._large) if is_last else None
        elif pieces := self._pieces(body, is_last=is_last):
            await self._writer.add(pieces)

    def _pieces(self, chunk: bytes, *, is_last: bool) -> list[bytes]:
        if not self._by_line:
            return [chunk] if chunk else []
        *whole, self._held = (self._held + chunk).split(b"\n")
        pieces = [line + b"\n" for line in whole]
        if is_last and self._held:
            pieces.append(self._held)
        return pieces


def length_of(headers: Sequence[tuple[str, str]]) -> int:
    """What is said of a whole body's length; 0 where nothing is."""
    return next((int(value) for name, value in headers if name.lower() == "content-length" and value.isdigit()), 0)
