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
    app: Any,
    config: Config,
    listener: Listener,
    register: Register,
    until: Callable[[], Awaitable[None]],
    *others: Listener,
) -> None:
    """Start the application, serve it, and stop it when `until` returns.

    Args:
        app: an application of ASGI.
        config: of Hypercorn; connections that do not end get `graceful_timeout`.
        listener: where clients come.
        register: counts their connections.
        until: is called once clients can come.
        others: where others come, whom the application tells apart by the port.

    Raises:
        LifespanFailureError: the application cannot start, or stop.
        LifespanTimeoutError: it takes too long for one of them.
    """
    loop, listeners = asyncio.get_running_loop(), (listener, *others)
    state: dict[str, Any] = {}
    served = wrap_app(app, config.wsgi_max_body_size, "asgi")
    lifespan = Lifespan(served, config, loop, state)
    living = loop.create_task(lifespan.handle_lifespan())
    try:
        await lifespan.wait_for_startup()
        if living.done():
            living.result()
    except BaseException:
        for each in listeners:
            each.stop()
        raise
    context = WorkerContext(None)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Connection(register, served, loop, config, context, state, reader, writer).run()

    for each in listeners:
        each.start(connected, config.backlog)
    try:
        await until()
    finally:
        await context.terminated.set()
        for each in listeners:
            each.stop()
        await asyncio.gather(*(each.finish(config.graceful_timeout) for each in listeners))
        await lifespan.wait_for_shutdown()
        living.cancel()
        await asyncio.wait({living})
    if not living.cancelled():
        living.result()
