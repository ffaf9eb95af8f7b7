"""Kept answers in Redis, for all processes that have the same one.

Each is a key of its own, which ends by itself. Beside them are `order`, in which they came, and `sizes`, what each of
them takes and, by the empty name, what all of them take: so they keep within their bound whatever else Redis holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import time
from typing import Any, Final

import msgspec

from mlops_backend.redis_clients import REDIS_ERRORS
from mlops_backend.redis_link import Presence, RedisLink, Steps
from mlops_backend.services.other.response_cache.entry import Entry

# A request waits no longer for what may spare it a generation.
_WITHIN: Final = 0.25
_PAUSE: Final = 0.5
_AGAIN: Final = 0.1
# Names in one slot of a cluster, since one step changes several.
_OF: Final = "{responses}"
_PUT: Final = """
local order, sizes, prefix = KEYS[1], KEYS[2], ARGV[1]
local name, text, size, most, ttl, now = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
local function drop(old)
  redis.call('DEL', prefix .. old)
  redis.call('ZREM', order, old)
  local held = redis.call('HGET', sizes, old)
  if not held then return end
  redis.call('HDEL', sizes, old)
  redis.call('HINCRBY', sizes, '', '-' .. held)
end
if redis.call('EXISTS', order, sizes) < 2 then redis.call('DEL', order, sizes) end
drop(name)
for _, old in ipairs(redis.call('ZRANGEBYSCORE', order, '-inf', now - ttl, 'LIMIT', 0, 100)) do drop(old) end
redis.call('SET', prefix .. name, text, 'PX', ttl)
redis.call('ZADD', order, now, name)
redis.call('HSET', sizes, name, size)
local all = redis.call('HINCRBY', sizes, '', size)
while all > most do
  local first = redis.call('ZRANGE', order, 0, 0)[1]
  if not first then break end
  drop(first)
  all = tonumber(redis.call('HGET', sizes, '')) or 0
end
redis.call('PEXPIRE', order, ttl)
redis.call('PEXPIRE', sizes, ttl)
return {redis.call('ZCARD', order), all}
"""


class RedisKeeper(RedisLink):
    """Keeps them there; see `Keeper`. Those make room that came first. While Redis is away there are none.

    Args:
        url: the address of Redis.
        ttl: seconds for which one is kept.
        most: bytes of all of them.
        clock: seconds since the epoch.
    """

    def __init__(self, url: str, ttl: float, most: int, clock: Callable[[], float] = time) -> None:
        super().__init__(url, [_PUT])
        self._ttl, self._most, self._clock = int(ttl * 1000), most, clock
        self._names = f"{self._prefix}:{_OF}:"
        self._steps, self._presence = Steps(), Presence("responses")
        self._away = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self.entries = self.bytes = 0

    async def get(self, name: str) -> Entry | None:
        """See `Keeper.get`."""
        found = await self._tried(lambda: self._client.get(f"{self._names}{name}"))
        try:
            return None if found is None else msgspec.msgpack.decode(found, type=Entry)
        except msgspec.MsgspecError:
            return None

    async def put(self, name: str, entry: Entry) -> None:
        """See `Keeper.put`."""
        if entry.size > self._most:
            return
        keys = [f"{self._names}order", f"{self._names}sizes"]
        text, now = msgspec.msgpack.encode(entry), int(self._clock() * 1000)
        arguments: list[Any] = [self._names, name, text, entry.size, self._most, self._ttl, now]
        told = await self._tried(lambda: self._run(_PUT, keys, arguments))
        if told is not None:
            self.entries, self.bytes = told

    async def open(self) -> None:
        """Look for Redis, and go on looking while it is away, so that no request has to."""
        await self._look()
        self._task = asyncio.create_task(self._watch())

    async def aclose(self) -> None:
        """Look no more, and close the connections."""
        self._stopping = True
        while self._task is not None and not self._task.done():  # redis-py can lose a cancel on Python 3.11
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_AGAIN)
        await self._steps.finish()
        await super().aclose()

    async def _tried(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """What Redis says within a quarter of a second; `None` where it says nothing, and while it is away.

        A client that leaves must not tear a connection in the middle of an answer: it is a task for itself.
        """
        if not self._presence.up:
            return None
        asking = self._steps.start(self._answer(ask))
        try:
            async with asyncio.timeout(_WITHIN):
                return await asyncio.shield(asking)
        except TimeoutError as error:
            self._failed(error)
            return None

    async def _answer(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        try:
            async with self._steps.turns:
                return await ask()
        except REDIS_ERRORS as error:
            self._failed(error)
            return None

    def _failed(self, error: BaseException) -> None:
        self._presence.failed(error)
        self._away.set()

    async def _watch(self) -> None:
        while not self._stopping:
            await self._away.wait()
            await asyncio.sleep(_PAUSE)
            await self._look()

    async def _look(self) -> None:
        self._away.clear()
        try:
            await self.probe()
        except REDIS_ERRORS as error:
            self._failed(error)
        else:
            self._presence.recovered()
