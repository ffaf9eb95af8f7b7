#!/usr/bin/env bash
# From Python 3.12.1 on Hypercorn waits for every open answer when it stops; graceful_timeout does not bound it.
#
# Hypercorn closes its listening sockets and awaits asyncio's Server.wait_closed() before graceful_timeout begins. On
# Python 3.11 that call returns at once. Since Python 3.12.1 it returns when the last connection has ended. So the same
# Hypercorn stops in time on the one and not on the other.
#
# For whom: rolling deployments of services with long streams; what starts the process ends it by SIGKILL.
# Upstream: https://github.com/pgjones/hypercorn/issues/308.
# Versions: Hypercorn 0.18.0, the newest on 2026-11-27; Python 3.11.7 (in time), 3.12.1 and 3.13.0 (not).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install -q --disable-pip-version-check hypercorn==0.18.0
timeout 60 "$folder/venv/bin/python" - <<'PY'
import asyncio
import socket
import sys
import time
from importlib.metadata import version

from hypercorn.asyncio import serve
from hypercorn.config import Config

GRACE = 1.0
STREAM = 6.0
WAITS = sys.version_info >= (3, 12, 1)


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    until = time.monotonic() + STREAM
    while time.monotonic() < until:
        await send({"type": "http.response.body", "body": b"tick\n", "more_body": True})
        await asyncio.sleep(0.1)
    await send({"type": "http.response.body", "body": b"end\n"})


async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.graceful_timeout = GRACE
    config.errorlog = None
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # what a cut connection leaves behind
    end = asyncio.Event()
    server = asyncio.ensure_future(serve(app, config, shutdown_trigger=end.wait))
    await asyncio.sleep(0.5)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"tick")
    reading = asyncio.ensure_future(reader.read())
    begin = time.monotonic()
    end.set()
    await asyncio.wait({server}, timeout=STREAM + 20)
    assert server.done(), "the server did not stop; look at this script"
    took = time.monotonic() - begin
    writer.close()
    return took, b"end\n" in await reading


print("hypercorn", version("hypercorn"), "on Python", sys.version.split()[0])
took, whole = asyncio.run(main())
print(f"graceful_timeout {GRACE} s, a stream of {STREAM} s: stopped after {took:.1f} s, the stream", "whole" if whole else "cut")
if WAITS and took < STREAM - 1:
    sys.exit("no longer so: Hypercorn keeps to graceful_timeout on this Python.")
if not WAITS and took > STREAM - 1:
    sys.exit("no longer so: Hypercorn does not keep to graceful_timeout on this Python either.")
PY

# Seen on 2026-11-27:
#   hypercorn 0.18.0 on Python 3.11.7
#   graceful_timeout 1.0 s, a stream of 6.0 s: stopped after 1.0 s, the stream cut
#   hypercorn 0.18.0 on Python 3.13.0
#   graceful_timeout 1.0 s, a stream of 6.0 s: stopped after 6.1 s, the stream whole
