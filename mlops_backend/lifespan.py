"""What is opened before the first request and closed after the last one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from typing import Protocol

from quart import Quart

from mlops_backend.telemetry.exceptions import log_of_loop
from mlops_backend.telemetry.logging import finish_log


class Part(Protocol):
    """Something that holds a connection, a task or a process while the application is served."""

    async def open(self) -> None:
        """Take what it needs."""

    async def aclose(self) -> None:
        """Let go of it; called after an `open` that failed, too."""


def live_with(app: Quart, parts: Sequence[Part]) -> None:
    """Open `parts` in their order when `app` is served; close them in the opposite order, whatever happens.

    Args:
        app: the application.
        parts: each may use those before it.
    """

    @app.while_serving
    async def lifespan() -> AsyncGenerator[None, None]:
        asyncio.get_running_loop().set_exception_handler(log_of_loop)
        async with AsyncExitStack() as opened:
            for part in parts:
                opened.push_async_callback(part.aclose)
                await part.open()
            yield
        await asyncio.to_thread(finish_log)
