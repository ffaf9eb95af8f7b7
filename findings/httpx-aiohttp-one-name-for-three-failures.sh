#!/usr/bin/env bash
# httpx over aiohttp reports three different failures as ConnectTimeout, two of which are no timeout.
#
# A refused connection, a server that closes before it answers and a pool without a free place all arrive as
# httpx.ConnectTimeout. httpx's own transport says ConnectError, RemoteProtocolError and PoolTimeout. What happened can
# still be told by the aiohttp exception, which is the `__cause__`.
#
# For whom: gateways that answer 502, 503 or 504 by the exception's class, and retries "on connect timeouts only": a
# request that the server has read already would be sent again.
# Versions: httpx-aiohttp 0.2.0, httpx 0.28.1, aiohttp 3.14.5, the newest on 2026-11-27; Python 3.11 and 3.13.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install -q --disable-pip-version-check \
    httpx-aiohttp==0.2.0 httpx==0.28.1 aiohttp==3.14.5
timeout 60 "$folder/venv/bin/python" - <<'PY'
import asyncio
import socket
import sys
from importlib.metadata import version

import httpx
from httpx_aiohttp import AiohttpTransport

TIMEOUT = httpx.Timeout(10, pool=1)
LIMITS = httpx.Limits(max_connections=1)


async def failure(asking):
    try:
        await asking
    except httpx.HTTPError as error:
        return type(error).__name__, type(error.__cause__).__name__
    raise AssertionError("nothing failed; look at this script")


async def failures(make):
    read = 0

    async def closes(reader, writer):
        nonlocal read
        await reader.readuntil(b"\r\n\r\n")
        read += 1
        writer.close()

    async def waits(reader, writer):
        await reader.read()
        writer.close()

    free = socket.create_server(("127.0.0.1", 0))
    refused = free.getsockname()[1]
    free.close()
    servers = [await asyncio.start_server(one, "127.0.0.1", 0) for one in (closes, waits)]
    closing, waiting = (f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/" for server in servers)
    seen = {}
    async with httpx.AsyncClient(transport=make(), timeout=TIMEOUT, trust_env=False) as client:
        seen["refused"] = await failure(client.get(f"http://127.0.0.1:{refused}/"))
    async with httpx.AsyncClient(transport=make(), timeout=TIMEOUT, trust_env=False) as client:
        seen["closed before it answered"] = await failure(client.post(closing))
    assert read, "the server had not read the request; look at this script"
    async with httpx.AsyncClient(transport=make(), timeout=TIMEOUT, trust_env=False) as client:
        first = asyncio.ensure_future(client.get(waiting))
        await asyncio.sleep(0.3)
        seen["no free place in the pool"] = await failure(client.get(waiting))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    for server in servers:
        server.close()
    return seen


async def main():
    return (
        await failures(lambda: httpx.AsyncHTTPTransport(limits=LIMITS)),
        await failures(lambda: AiohttpTransport(limits=LIMITS)),
    )


for name in ("httpx-aiohttp", "httpx", "aiohttp"):
    print(name, version(name), end=", ")
print("Python", sys.version.split()[0])
own, over_aiohttp = asyncio.run(main())
for what in own:
    print(f"{what}: {own[what][0]} by httpx's own transport, {over_aiohttp[what][0]} over aiohttp ({over_aiohttp[what][1]})")
assert len({name for name, _ in own.values()}) == 3, "the comparison itself does not hold; look at this script"
if {name for name, _ in over_aiohttp.values()} != {"ConnectTimeout"}:
    sys.exit("no longer so: httpx-aiohttp tells these failures apart.")
PY

# Seen on 2026-11-27:
#   httpx-aiohttp 0.2.0, httpx 0.28.1, aiohttp 3.14.5, Python 3.11.7
#   refused: ConnectError by httpx's own transport, ConnectTimeout over aiohttp (ClientConnectorError)
#   closed before it answered: RemoteProtocolError by httpx's own transport, ConnectTimeout over aiohttp (ServerDisconnectedError)
#   no free place in the pool: PoolTimeout by httpx's own transport, ConnectTimeout over aiohttp (ConnectionTimeoutError)
