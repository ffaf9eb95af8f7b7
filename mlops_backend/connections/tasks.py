"""The tasks of one connection, one for each request, and what waits for each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from hypercorn.asyncio.task_group import TaskGroup


class Inbox(asyncio.Queue[Any]):
    """What a client sent, for the application to take; a queue that costs little where nobody waits."""

    _queue: deque[Any]
    _getters: deque[asyncio.Future[None]]
    _putters: deque[asyncio.Future[None]]

    async def put(self, item: Any) -> None:
        """Add it; waits while there are as many as there may be."""
        if not self._getters and len(self._queue) < self.maxsize:
            self._queue.append(item)
        else:
            await super().put(item)

    async def get(self) -> Any:
        """Take the oldest; waits for one."""
        if self._queue and not self._putters:
            return self._queue.popleft()
        return await super().get()


class Tasks(TaskGroup):
    """Hypercorn's group of a connection's tasks."""

    async def spawn_app(self, app: Any, config: Any, scope: Any, send: Any) -> Callable[[Any], Awaitable[None]]:
        """Begin to answer a request; returns how to hand it what comes of its body."""
        inbox = Inbox(config.max_app_queue_size)
        self.spawn(_answer, app, config, scope, inbox.get, send)
        return inbox.put


async def _answer(app: Any, config: Any, scope: Any, receive: Any, send: Any) -> None:
    """As Hypercorn does; it runs no application here that is not asynchronous."""
    try:
        await app(scope, receive, send, None, None)
    except Exception:
        await config.log.exception("Error in ASGI Framework")
    finally:
        await send(None)
