#!/usr/bin/env bash
# Hypercorn does not notice two ordinary ways in which a client leaves.
#
# 1. A client gets its answer, keeps the connection alive and closes it a moment later. Hypercorn keeps the
#    descriptor and the tasks of the connection until keep_alive_timeout has passed.
# 2. A client sends anything behind its request (a stray line end, or the next request) and leaves while the answer
#    is being made. The application is told only once it writes into the broken connection; one that writes nothing
#    yet works to the end for nobody. Without those bytes it is told at once.
#
# For whom: servers with a long keep_alive_timeout behind a proxy, and answers that take long before their first byte.
# Versions: Hypercorn 0.18.0, the newest on 2026-11-27; Python 3.11, 3.12 and 3.13.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install -q --disable-pip-version-check hypercorn==0.18.0
timeout 60 "$folder/venv/bin/python" - <<'PY'
import asyncio
import os
import socket
import sys
import time
from importlib.metadata import version

from hypercorn.asyncio import serve
from hypercorn.config import Config

KEEP_ALIVE = 4.0
WORK = 2.0
CLIENTS = 20
REQUEST = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"
told: asyncio.Queue = asyncio.Queue()


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/slow":
        await work(receive)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def work(receive):
    """Work that writes nothing yet; says after how long it was told that the client has left, or None."""

    async def left():
        while (await receive())["type"] != "http.disconnect":
            pass

    begin = time.monotonic()
    try:
        await asyncio.wait_for(left(), WORK)
        told.put_nowait(time.monotonic() - begin)
    except asyncio.TimeoutError:
        told.put_nowait(None)


def descriptors():
    return len(os.listdir("/dev/fd"))


async def left_while_idle(port):
    """How many descriptors are open more than before: a second after all clients left, and after the timeout."""
    before = descriptors()
    for _ in range(CLIENTS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST % b"/")
        await reader.readuntil(b"ok")
        writer.close()
        await writer.wait_closed()
    await asyncio.sleep(1)
    soon = descriptors() - before
    await asyncio.sleep(KEEP_ALIVE)
    return soon, descriptors() - before


async def left_at_work(port, behind):
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST % b"/slow" + behind)
    await asyncio.sleep(0.3)
    writer.close()
    await writer.wait_closed()
    return await asyncio.wait_for(told.get(), WORK + 5)


async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = KEEP_ALIVE
    config.errorlog = None
    end = asyncio.Event()
    server = asyncio.ensure_future(serve(app, config, shutdown_trigger=end.wait))
    port = listener.getsockname()[1]
    await asyncio.sleep(0.5)
    soon, later = await left_while_idle(port)
    bare = await left_at_work(port, b"")
    line_end = await left_at_work(port, b"\r\n")
    pipelined = await left_at_work(port, REQUEST % b"/")
    end.set()
    await server
    return soon, later, bare, line_end, pipelined


def shown(seconds):
    return f"not told in {WORK} s" if seconds is None else f"told after {seconds:.1f} s"


print("hypercorn", version("hypercorn"), "on Python", sys.version.split()[0])
soon, later, bare, line_end, pipelined = asyncio.run(main())
print(f"{CLIENTS} clients left idle connections: {soon} descriptors open 1 s later, {later} after keep_alive_timeout")
print("left at 0.3 s, nothing behind the request:", shown(bare))
print("left at 0.3 s, a line end behind the request:", shown(line_end))
print("left at 0.3 s, a second request behind the first:", shown(pipelined))
assert later == 0 and bare is not None and bare < 1, "the comparison itself does not hold; look at this script"
if soon < CLIENTS:
    sys.exit("no longer so: Hypercorn closes an idle connection when its client has closed it.")
if line_end is not None or pipelined is not None:
    sys.exit("no longer so: Hypercorn tells the application of a client that left, whatever followed its request.")
PY

# Seen on 2026-11-27:
#   hypercorn 0.18.0 on Python 3.11.7
#   20 clients left idle connections: 20 descriptors open 1 s later, 0 after keep_alive_timeout
#   left at 0.3 s, nothing behind the request: told after 0.3 s
#   left at 0.3 s, a line end behind the request: not told in 2.0 s
#   left at 0.3 s, a second request behind the first: not told in 2.0 s
