"""What the processes of a service tell and ask each other over Redis; what is lost on the way is lost."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from typing import Any, Final

import msgspec
import structlog
from redis.asyncio import Redis

from mlops_backend.redis_clients import MOST_AT_ONCE, REDIS_ERRORS
from mlops_backend.redis_link import RedisLink

_WITHIN: Final = 0.5
_PAUSE: Final = 0.5
_AGAIN: Final = 0.1
_Handler = tuple[Callable[[Any, Any], Any], Any]


class _Message(msgspec.Struct, array_like=True):
    """Of whom it is; the number of a question, 0 of what is told; its name, empty of an answer; and what with it."""

    sender: str
    number: int
    name: str
    payload: Any = None


_DECODER: Final = msgspec.msgpack.Decoder(_Message)


class _Question:
    """What was asked of all; `most` is how many can answer, where that is known."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.most: int | None = None
        self.whole = asyncio.Event()

    def look(self) -> None:
        """See whether all have answered."""
        if self.most is not None and len(self.answers) >= self.most:
            self.whole.set()


class RedisBus(RedisLink):
    """Leads to every other process that has the same Redis.

    Args:
        url: the address of Redis.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, [])
        self._me = secrets.token_hex(8)
        self._all = f"{self._prefix}:{{leases}}:all"
        self._handlers: dict[str, _Handler] = {}
        self._questions: dict[int, _Question] = {}
        self._numbers = count(1)
        self._sending: set[asyncio.Task[int]] = set()
        self._task: asyncio.Task[None] | None = None
        self._stopping = self.listening = False

    def on(self, name: str, function: Callable[[Any, Any], Any], kind: Any = Any) -> None:
        """Have `function` handle what goes by that name; what comes with it must be of that kind."""
        self._handlers[name] = function, kind

    def tell(self, name: str, payload: Any = None) -> None:
        """Tell all others, soon; not where nobody would hear of it, and not where too much is to be told already."""
        if self.listening and len(self._sending) < MOST_AT_ONCE:
            self._send(self._all, 0, name, payload)

    async def ask(self, name: str, payload: Any = None) -> list[Any] | None:
        """What the others answer within half a second; `None` where they cannot be asked."""
        if not self.listening:
            return None
        number, question = next(self._numbers), _Question()
        self._questions[number] = question
        try:
            heard_by = await asyncio.shield(self._send(self._all, number, name, payload))
            if isinstance(self._client, Redis):  # a node of a cluster counts those alone that listen to it
                question.most = heard_by - 1
                question.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(_WITHIN):
                    await question.whole.wait()
        except REDIS_ERRORS:
            return None
        finally:
            del self._questions[number]
        return question.answers

    async def open(self) -> None:
        """Listen."""
        self._task = asyncio.create_task(self._live())

    async def aclose(self) -> None:
        """Listen no more, and close the connections."""
        self._stopping = True
        while self._task is not None and not self._task.done():  # redis-py can lose a cancel on Python 3.11
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_AGAIN)
        if self._sending:
            await asyncio.wait(self._sending, timeout=1)
        await super().aclose()

    async def _live(self) -> None:
        while not self._stopping:
            with suppress(*REDIS_ERRORS):
                await self.probe()
                await self._listen([self._all, self._to(self._me)], self._heard, self._listens)
            await asyncio.sleep(_PAUSE)

    def _listens(self, listening: bool) -> None:
        self.listening = listening

    def _send(self, channel: str, number: int, name: str, payload: Any) -> asyncio.Task[int]:
        """A client that leaves must not tear a connection in the middle of an answer: it is a task for itself."""
        content = msgspec.msgpack.encode(_Message(self._me, number, name, payload))
        task = asyncio.create_task(_published(self._client.publish(channel, content)))
        self._sending.add(task)
        task.add_done_callback(self._sent)
        return task

    def _sent(self, task: asyncio.Task[int]) -> None:
        self._sending.discard(task)
        if not task.cancelled():
            task.exception()  # what is lost is lost

    def _heard(self, content: bytes) -> None:
        try:
            message = _DECODER.decode(content)
            if message.sender == self._me:
                return
            if not message.name:
                self._answered(message)
            elif message.name in self._handlers:
                self._handle(message)
        except Exception as error:  # of a process of another version, or of nobody of ours: listening goes on
            structlog.get_logger().warning("message_not_understood", error=repr(error))

    def _answered(self, message: _Message) -> None:
        question = self._questions.get(message.number)
        if question is not None:
            question.answers.append(message.payload)
            question.look()

    def _handle(self, message: _Message) -> None:
        function, kind = self._handlers[message.name]
        answer = function(message.sender, msgspec.convert(message.payload, kind))
        if message.number:
            self._send(self._to(message.sender), message.number, "", answer)

    def _to(self, process: str) -> str:
        return f"{self._prefix}:{{leases}}:to:{process}"


async def _published(publishing: Awaitable[Any]) -> int:
    return int(await publishing)
