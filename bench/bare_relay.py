"""The least that Quart, Hypercorn and httpx over aiohttp can do.

`python -m bench.bare_relay --port N --upstream URL`: the same libraries, event loop and server settings as
the service, and nothing else: no key, no checks, no logs, no care for errors. What the service takes more than
this is what the service costs.
"""

import argparse
import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, Response, request

from bench.families import ROUTES, Family
from bench.machine import raise_open_files
from mlops_backend.event_loop import factory_of

BACKLOG = 2048
JSON = {"Content-Type": "application/json"}
View = Callable[[], Awaitable[Response]]


def create_client(upstream: str) -> httpx.AsyncClient:
    """Return the client that the service uses as well, without limits or clocks."""
    transport = AiohttpTransport(client=lambda: aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
    return httpx.AsyncClient(transport=transport, base_url=upstream, timeout=None, trust_env=False)


def create_app(upstream: str) -> Quart:
    """Return the application: for each route of the upstream one that streams and one that does not.

    The path tells which, so that no body need be read.
    """
    app = Quart(__name__)

    @app.while_serving
    async def client_for_life() -> AsyncGenerator[None, None]:
        async with create_client(upstream) as app.bench_client:  # type: ignore[attr-defined]
            yield

    for path, family in ROUTES.items():
        app.add_url_rule(family.bare_stream, family.bare_stream, _streamed(app, family), methods=["POST"])
        app.add_url_rule(path, path, _whole(app, path), methods=["POST"])
    return app


def _streamed(app: Quart, family: Family) -> View:
    async def stream() -> Response:
        """Forward the body, stream the answer."""
        body = await request.get_data()

        async def relay() -> AsyncIterator[bytes]:
            client: httpx.AsyncClient = app.bench_client  # type: ignore[attr-defined]
            async with client.stream("POST", family.path, content=body, headers=JSON) as answer:
                async for chunk in answer.aiter_raw():
                    yield chunk

        response = Response(relay(), content_type=family.frames.content_type)
        response.timeout = None
        return response

    return stream


def _whole(app: Quart, path: str) -> View:
    async def whole() -> Response:
        """Forward the body, return the answer."""
        body = await request.get_data()
        client: httpx.AsyncClient = app.bench_client  # type: ignore[attr-defined]
        answer = await client.post(path, content=body, headers=JSON)
        return Response(answer.content, content_type="application/json")

    return whole


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    options = parser.parse_args()
    raise_open_files()
    config = Config()
    config.bind = [f"127.0.0.1:{options.port}"]
    config.backlog = BACKLOG
    with asyncio.Runner(loop_factory=factory_of("auto")) as runner:
        runner.run(serve(create_app(options.upstream), config))


if __name__ == "__main__":
    main()
