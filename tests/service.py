"""The service on a real socket, served by Hypercorn as in production, inside the test's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from quart import Quart

from mlops_backend.app import create_app
from mlops_backend.config import Settings
from mlops_backend.connections import Listener, listen, register_for, serve
from mlops_backend.middleware.request_context import services_of
from mlops_backend.server import hypercorn_config
from mlops_backend.services.llm.generation.admission import Admission
from mlops_backend.services.llm.upstream.client import Upstream
from mlops_backend.services.registry import Services
from tests.described import Watched, description
from tests.settings import ADMIN_KEY, ORDINARY_KEY, settings_for

__all__ = ["ADMIN_KEY", "ORDINARY_KEY", "Service", "serving", "settings_for"]


@dataclass
class Service:
    """A running service, with clients that carry the ordinary key, or none."""

    app: Quart
    url: str
    client: httpx.AsyncClient
    stranger: httpx.AsyncClient

    @property
    def services(self) -> Services:
        """What `create_app` built."""
        return services_of(self.app.extensions)

    @property
    def admission(self) -> Admission:
        """The running generations."""
        return self.services.get(Admission)

    @property
    def upstream(self) -> Upstream:
        """The client to the backends."""
        return self.services.get(Upstream)


@asynccontextmanager
async def serving(settings: Settings, app: Quart | None = None) -> AsyncIterator[Service]:
    """Serve until the block ends; every answer must stand in the API's description, unless `app` is the test's own."""
    description()  # made before: an application configures the log, and the one that is served has to be the last
    is_ours = app is None
    app = app or create_app(settings)
    watched = Watched(app)
    bound = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    register = register_for(settings)
    listening, stop = asyncio.Event(), asyncio.Event()

    async def until_stopped() -> None:
        listening.set()
        await stop.wait()
        register.stop()

    server = asyncio.create_task(serve(watched, hypercorn_config(), Listener(bound, register), register, until_stopped))
    waiting = asyncio.create_task(listening.wait())
    await asyncio.wait({server, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if server.done():
        waiting.cancel()
        server.result()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    clients = [
        # No TLS here, and reading the certificates of authorities would take most of a small test's time.
        httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=20, trust_env=False, verify=False)
        for headers in ({"X-API-Key": ORDINARY_KEY}, {})
    ]
    try:
        yield Service(app, url, *clients)
    finally:
        for client in clients:
            await client.aclose()
        stop.set()
        await server
    assert not (is_ours and watched.surprises), watched.surprises
