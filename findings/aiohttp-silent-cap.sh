#!/usr/bin/env bash
# aiohttp opens 100 connections at once and makes the next request wait, without an error and without a line in a log.
#
# The number comes from TCPConnector's default `limit`. A waiting request looks like a slow server. httpx-aiohttp puts
# the same number behind httpx's interface: `Limits(max_connections=None)` means "no bound" in httpx, but over aiohttp
# it means aiohttp's default, so a bound of 100. A session made with `TCPConnector(limit=0)` has none.
#
# For whom: whoever holds more than 100 long streams at once through one aiohttp.ClientSession, or moves from httpx's
# own transport to httpx-aiohttp's.
# Versions: aiohttp 3.14.5, httpx 0.28.1, httpx-aiohttp 0.2.0, the newest on 2026-11-27; Python 3.11 and 3.13.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install -q --disable-pip-version-check \
    aiohttp==3.14.5 httpx==0.28.1 httpx-aiohttp==0.2.0
timeout 60 "$folder/venv/bin/python" - <<'PY'
import asyncio
import logging
import sys
from contextlib import asynccontextmanager
from importlib.metadata import version

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

ASKED = 120
CAP = 100
WAIT = 2.0
logged: list = []


class Kept(logging.Handler):
    def emit(self, record):
        logged.append(record)


class Server:
    """Answers nothing until it is told to; counts the requests that have reached it."""

    def __init__(self):
        self.reached = 0
        self.go = asyncio.Event()

    async def serve(self, reader, writer):
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.reached += 1
                await self.go.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@asynccontextmanager
async def plain_aiohttp(**connector):
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(**connector)) as session:

        async def get(url):
            async with session.get(url) as response:
                return response.status

        yield get


@asynccontextmanager
async def httpx_over(transport):
    async with httpx.AsyncClient(transport=transport, timeout=None, trust_env=False) as client:

        async def get(url):
            return (await client.get(url)).status_code

        yield get


async def reached(make):
    """How many of the requests are at the server after a while; all of them must be answered once it goes on."""
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, backlog=ASKED * 2)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    async with make as get:
        asking = [asyncio.ensure_future(get(url)) for _ in range(ASKED)]
        await asyncio.sleep(WAIT)
        count = server.reached
        failed = sum(one.done() for one in asking)
        server.go.set()
        assert set(await asyncio.gather(*asking)) == {200} and not failed, "a request failed; look at this script"
    listening.close()
    return count


async def main():
    unbounded = httpx.Limits(max_connections=None)
    return {
        "aiohttp, as it comes": await reached(plain_aiohttp()),
        "aiohttp, limit=0": await reached(plain_aiohttp(limit=0)),
        "httpx over httpcore, max_connections=None": await reached(httpx_over(httpx.AsyncHTTPTransport(limits=unbounded))),
        "httpx over aiohttp, max_connections=None": await reached(httpx_over(AiohttpTransport(limits=unbounded))),
    }


logging.getLogger("aiohttp").addHandler(Kept(logging.DEBUG))
logging.getLogger("aiohttp").setLevel(logging.DEBUG)
for name in ("aiohttp", "httpx", "httpx-aiohttp"):
    print(name, version(name), end=", ")
print("Python", sys.version.split()[0])
counts = asyncio.run(main())
for name, count in counts.items():
    print(f"{name}: {count} of {ASKED} requests at the server after {WAIT:.0f} s")
print("lines logged by aiohttp:", len(logged))
as_it_comes, limit_0, httpcore, over_aiohttp = counts.values()
assert limit_0 == httpcore == ASKED, "the comparison itself does not hold; look at this script"
if as_it_comes != CAP or logged:
    sys.exit("no longer so: aiohttp's default cap is another one, or is told of.")
if over_aiohttp != CAP:
    sys.exit("no longer so: httpx-aiohttp takes max_connections=None as no bound.")
PY

# Seen on 2026-11-27:
#   aiohttp 3.14.5, httpx 0.28.1, httpx-aiohttp 0.2.0, Python 3.11.7
#   aiohttp, as it comes: 100 of 120 requests at the server after 2 s
#   aiohttp, limit=0: 120 of 120 requests at the server after 2 s
#   httpx over httpcore, max_connections=None: 120 of 120 requests at the server after 2 s
#   httpx over aiohttp, max_connections=None: 100 of 120 requests at the server after 2 s
#   lines logged by aiohttp: 0
