#!/usr/bin/env bash
# httpx over its own transport (httpcore) loses places in its pool when requests are cancelled.
#
# Twenty tasks ask a healthy server and are cancelled after a few milliseconds at random. When all of them have ended,
# some of the pool's ten places stay taken by nobody, soon all of them: each later request fails with PoolTimeout, until
# the client is made anew. The same client over httpx-aiohttp, under the same load, serves every later request.
#
# For whom: gateways, whose clients cancel as an ordinary thing, and everybody with asyncio.timeout around a request.
# Upstream: https://github.com/encode/httpcore/issues/1093.
# Versions: httpx 0.28.1, httpcore 1.0.9, httpx-aiohttp 0.2.0, aiohttp 3.14.5, the newest on 2026-11-27; Python 3.11 and 3.13.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install -q --disable-pip-version-check \
    httpx==0.28.1 httpcore==1.0.9 httpx-aiohttp==0.2.0 aiohttp==3.14.5
timeout 120 "$folder/venv/bin/python" - <<'PY'
import asyncio
import random
import sys
import time
from importlib.metadata import version

import httpx
from httpx_aiohttp import AiohttpTransport

PLACES = 10
TASKS = 20
ROUND = 5.0
ROUNDS = 4
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def serve(reader, writer):
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(random.random() * 0.004)
            writer.write(ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def cancels(client, url, until):
    while time.monotonic() < until:
        asking = asyncio.ensure_future(client.get(url))
        await asyncio.sleep(random.random() * 0.008)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def answered(client, url):
    """How many of as many requests as the pool has places are answered, all sent at once, with nothing else running."""
    answers = await asyncio.gather(*(client.get(url) for _ in range(PLACES)), return_exceptions=True)
    return sum(isinstance(answer, httpx.Response) for answer in answers), sorted(
        {type(answer).__name__ for answer in answers if isinstance(answer, Exception)}
    )


async def tried(transport, rounds):
    """After each round of cancels: what came of plain requests; ends early when none is answered any more."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    seen = []
    timeout = httpx.Timeout(5, pool=1)
    client = httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False)
    assert (await answered(client, url))[0] == PLACES, "the server does not answer; look at this script"
    for _ in range(rounds):
        until = time.monotonic() + ROUND
        await asyncio.gather(*(cancels(client, url, until) for _ in range(TASKS)))
        await asyncio.sleep(0.5)
        seen.append(await answered(client, url))
        if not seen[-1][0]:
            break
    pool = getattr(transport, "_pool", None)
    held = len([c for c in pool.connections if not c.is_idle()]) if pool is not None else None
    await client.aclose()
    server.close()
    return seen, held


async def main():
    limits = httpx.Limits(max_connections=PLACES, max_keepalive_connections=PLACES)
    plain, held = await tried(httpx.AsyncHTTPTransport(limits=limits), ROUNDS)
    over_aiohttp, _ = await tried(AiohttpTransport(limits=limits), max(2, len(plain)))
    return plain, held, over_aiohttp


for name in ("httpx", "httpcore", "httpx-aiohttp", "aiohttp"):
    print(name, version(name), end=", ")
print("Python", sys.version.split()[0])
plain, held, over_aiohttp = asyncio.run(main())
print(f"plain requests answered of {PLACES}, after each {ROUND:.0f} s of cancels:")
print("  httpx over httpcore:", [count for count, _ in plain], *plain[-1][1], f"({held} places taken with nothing running)")
print("  httpx over aiohttp: ", [count for count, _ in over_aiohttp], *over_aiohttp[-1][1])
if any(count != PLACES for count, _ in over_aiohttp):
    sys.exit("no longer so: httpx over aiohttp loses places too.")
if plain[-1][0] == PLACES:
    sys.exit("no longer so: httpx over httpcore lost no place of its pool.")
PY

# Seen on 2026-11-27:
#   httpx 0.28.1, httpcore 1.0.9, httpx-aiohttp 0.2.0, aiohttp 3.14.5, Python 3.11.7
#   plain requests answered of 10, after each 5 s of cancels:
#     httpx over httpcore: [0] PoolTimeout (10 places taken with nothing running)
#     httpx over aiohttp:  [10, 10]
