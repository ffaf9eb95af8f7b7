"""Serves an application on a listener, as Hypercorn's `serve` does on a server of asyncio.

That server accepts always, and where the loop is uvloop it accepts in C. So what it does around Hypercorn's parts is
done here: the lifespan, the connections, and their end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.utils import wrap_app

from mlops_backend.connections.connection import Connection
from mlops_backend.connections.listener import Listener
from mlops_backend.connections.register import Register


async def serve(
    app: Any, config: Config, listener: Listener, register: Register, until: Callable[[], Awaitable[None]]
) -> None:
    """Start the application, serve it, and stop it when `until` returns.

    Args:
        app: an application of ASGI.
        config: of Hypercorn; connections that do not end get `graceful_timeout`.
        listener: where clients come.
        register: counts their connections.
        until: is called once clients can come.

    Raises:
        LifespanFailureError: the application cannot start, or stop.
        LifespanTimeoutError: it takes too long for one of them.
    """
    loop = asyncio.get_running_loop()
    state: dict[str, Any] = {}
    served = wrap_app(app, config.wsgi_max_body_size, "asgi")
    lifespan = Lifespan(served, config, loop, state)
    living = loop.create_task(lifespan.handle_lifespan())
    try:
        await lifespan.wait_for_startup()
        if living.done():
            living.result()
    except BaseException:
        listener.stop()
        raise
    context = WorkerContext(None)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Connection(register, served, loop, config, context, state, reader, writer).run()

    listener.start(connected, config.backlog)
    try:
        await until()
    finally:
        await context.terminated.set()
        listener.stop()
        await listener.finish(config.graceful_timeout)
        await lifespan.wait_for_shutdown()
        living.cancel()
        await asyncio.wait({living})
    if not living.cancelled():
        living.result()
