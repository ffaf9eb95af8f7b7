"""The last step of a drain but one: answers that have begun are finished."""

from __future__ import annotations

import asyncio

from mlops_backend.middleware.asgi import App, Receive, Scope, Send
from mlops_backend.middleware.request_context import record_of
from mlops_backend.telemetry.record import RequestRecord


class LiveAnswers:
    """Knows the requests that are under way, one task each.

    A generation is over with its last byte; a slow client may still be taking what was made for it.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._live: dict[asyncio.Task[object], RequestRecord] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        task = asyncio.current_task()
        if scope["type"] != "http" or task is None:
            await self._app(scope, receive, send)
            return
        self._live[task] = record_of(scope)
        try:
            await self._app(scope, receive, send)
        finally:
            del self._live[task]

    async def finish(self, seconds: float) -> None:
        """Wait for the answers whose status has been sent, for at most `seconds`."""
        begun = [task for task, record in self._live.items() if record.status]
        if begun:
            await asyncio.wait(begun, timeout=seconds)
