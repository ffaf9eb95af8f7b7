"""A drain waits for answers that have begun, and for no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mlops_backend.middleware.asgi import Receive, Scope, Send
from mlops_backend.middleware.drain import LiveAnswers
from mlops_backend.middleware.request_context import RequestContext

SCOPE = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}


class Answering:
    """One request, which ends when it is let go; its status may have been sent before."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.live = LiveAnswers(self._app)
        self.sends_status = True
        self._reached = asyncio.Event()

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[asyncio.Task[None]]:
        """The request, up to where it waits."""
        context = RequestContext(self.live, *[lambda *_: None] * 3)
        task = asyncio.create_task(context(dict(SCOPE), self._receive, self._send))
        await self._reached.wait()
        yield task
        self.let_go.set()
        await task

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.sends_status:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        self._reached.set()
        await self.let_go.wait()

    async def _receive(self) -> dict[str, Any]:
        raise AssertionError("this request has no body")

    async def _send(self, message: Any) -> None:
        assert message["status"] == 200


async def test_a_begun_answer_is_waited_for() -> None:
    """The drain goes on when it is over, and not before."""
    answering = Answering()
    async with answering.under_way() as task:
        finish = asyncio.create_task(answering.live.finish(10))
        done, _ = await asyncio.wait({finish}, timeout=0.05)
        assert not done
        answering.let_go.set()
        await finish
        assert task.done()


async def test_a_begun_answer_is_waited_for_no_longer_than_told() -> None:
    """A client that takes nothing any more cannot hold a stop."""
    answering = Answering()
    async with answering.under_way() as task, asyncio.timeout(20):
        await answering.live.finish(0.01)
        assert not task.done()


async def test_a_request_without_an_answer_is_not_waited_for() -> None:
    """What has no status yet is a generation that the drain waited for already, or a body that may never come."""
    answering = Answering()
    answering.sends_status = False
    async with answering.under_way(), asyncio.timeout(20):
        await answering.live.finish(60)


async def test_an_ended_answer_is_forgotten() -> None:
    """Nothing is kept of it: a process would grow with each request."""
    answering = Answering()
    async with answering.under_way():
        assert len(answering.live._live) == 1
    assert not answering.live._live
    async with asyncio.timeout(20):
        await answering.live.finish(60)
