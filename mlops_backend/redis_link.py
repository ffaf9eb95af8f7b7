"""A link to whoever answers at the address of Redis, and the scripts that are run there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import structlog
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.commands.core import AsyncScript
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as NoAnswer

from mlops_backend.redis_clients import (
    MOST_AT_ONCE,
    Client,
    UnfitRedis,
    client_of_cluster,
    client_of_one,
    hint,
    is_cluster,
)

_Result = TypeVar("_Result")

# How long a connection is listened to before it is seen whether the end is wanted.
_LISTEN: Final = 15.0
# Longer than any answer takes.
_LAST_ANSWERS: Final = 2.0
Asked = tuple[list[str], list[str | int]]


class RedisLink:
    """Connections to one server or to a cluster, whichever answers; `probe` finds out.

    Args:
        url: the address; it holds a password, which no look at this object is to show.
        scripts: the texts of those that are run.
        prefix: of all names.
    """

    def __init__(self, url: str, scripts: Sequence[str], *, prefix: str = "mlops") -> None:
        self._hint: Callable[[BaseException], str] = lambda error: hint(url, error)
        self._of_one: Callable[[], Redis] = lambda: client_of_one(url)
        self._of_cluster: Callable[[], RedisCluster] = lambda: client_of_cluster(url)
        self._texts, self._prefix = scripts, prefix
        self._asked = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._use(self._of_one())

    async def probe(self) -> None:
        """Leave whom the connections led to, find who is at the address now, and fail unless that can be written to.

        Raises:
            RedisError: it cannot, or `UnfitRedis`, it never will.
        """
        await self._leave()
        try:
            await self._meet()
        except (NoConnection, NoAnswer) as error:
            raise type(error)(f"{error}{self._hint(error)}") from error
        await self._client.set(f"{self._prefix}:probe", 1, ex=60)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _meet(self) -> None:
        one = self._client if isinstance(self._client, Redis) else self._of_one()
        try:
            several = await is_cluster(one)
        finally:
            if one is not self._client:
                await one.aclose()
        if several != isinstance(self._client, RedisCluster):
            self._use(self._of_cluster() if several else self._of_one())
            if several:
                await one.aclose()

    def _use(self, client: Client) -> None:
        self._client: Client = client
        self._scripts: dict[str, AsyncScript] = {text: client.register_script(text) for text in self._texts}

    async def _run(self, text: str, keys: list[str], arguments: list[Any]) -> Any:
        self._asked += 1
        self._quiet.clear()
        try:
            return await self._scripts[text](keys=keys, args=arguments)
        finally:
            self._asked -= 1
            if not self._asked:
                self._quiet.set()

    async def _run_all(self, text: str, asked: Sequence[Asked]) -> list[Any]:
        """What was said to each; an error is one's own, unless nobody answers."""
        step = self._scripts[text]
        if isinstance(self._client, Redis):
            async with self._client.pipeline(transaction=False) as pipe:
                for keys, arguments in asked:
                    await step(keys=keys, args=arguments, client=pipe)
                return list(await pipe.execute(raise_on_error=False))
        return [await _answered(step, keys, arguments) for keys, arguments in asked]

    async def _listen(
        self, channels: Sequence[str], heard: Callable[[bytes], None], listening: Callable[[bool], None]
    ) -> None:
        """Hear what is published, until the connection ends; any node of a cluster has all of it.

        Raises:
            RedisError, OSError: it did, or could not be had.
        """
        client = self._of_one()
        try:
            async with client.pubsub(ignore_subscribe_messages=True) as news:
                await news.subscribe(*channels)
                while True:
                    message = await news.get_message(timeout=_LISTEN)
                    listening(True)
                    if message is not None:
                        heard(bytes(message["data"]))
        finally:
            listening(False)
            await client.aclose()

    async def _leave(self) -> None:
        """Close connections, none of which somebody reads from: answers that are under way are waited for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_ANSWERS):
                await self._quiet.wait()
        if isinstance(self._client, Redis):
            await self._client.connection_pool.disconnect(inuse_connections=False)
        else:
            await self._client.aclose()


async def _answered(step: AsyncScript, keys: list[str], arguments: list[str | int]) -> Any:
    try:
        return await step(keys=keys, args=arguments)
    except ResponseError as error:
        return error


class Steps:
    """What is asked of Redis on behalf of clients: so many at a time, and to its end though a client leaves.

    One that leaves must not tear a connection in the middle of an answer.
    """

    def __init__(self) -> None:
        self.turns = asyncio.Semaphore(MOST_AT_ONCE)
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, step: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
        """Begin one; it is for the caller to shield its wait."""
        task = asyncio.create_task(step)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def finish(self) -> None:
        """Wait for those under way, a second at most."""
        if self._running:
            await asyncio.wait(self._running, timeout=1)


class Presence:
    """Whether Redis is asked at present; the log has it when that changes.

    Args:
        name: of those who ask, for the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.up = True
        self.trouble = ""

    def failed(self, error: BaseException) -> None:
        """It did not answer as it should."""
        words = " ".join(str(error).split()) or type(error).__name__
        if self.up or (isinstance(error, UnfitRedis) and words != self.trouble):
            structlog.get_logger().warning(f"{self._name}_redis_down", error=words)
        self.up, self.trouble = False, words

    def recovered(self) -> None:
        """It does again."""
        if not self.up:
            self.up, self.trouble = True, ""
            structlog.get_logger().info(f"{self._name}_redis_up")
