#!/usr/bin/env bash
# Quart reads a request's whole body into memory, however slowly the view reads it.
#
# `async for data in request.body` looks like a stream, and the docstring of Quart's `Body` says that it builds up
# no memory. But a task beside the view takes all that arrives and keeps it, so the client is never
# slowed down. Here a view takes one piece and pauses, and the client gets rid of all 64 MiB meanwhile. A bare ASGI
# application under the same server makes the client wait.
#
# For whom: whoever passes uploads on to something slower than the client, with files larger than the memory.
# MAX_CONTENT_LENGTH is no help: it refuses such a file.
# Versions: Quart 0.22.0, the newest for Python 3.11 and 3.12 on 2026-11-27, and 0.23.1, the newest, for Python 3.13;
# Hypercorn 0.18.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
quart=$("$folder/venv/bin/python" -c 'import sys; print("0.23.1" if sys.version_info >= (3, 13) else "0.22.0")')
timeout 300 "$folder/venv/bin/pip" install -q --disable-pip-version-check "quart==$quart" hypercorn==0.18.0
timeout 60 "$folder/venv/bin/python" - <<'PY'
import asyncio
import socket
import sys
from importlib.metadata import version

from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, request

MIB = 1024 * 1024
SIZE = 64 * MIB
PAUSE = 3.0
HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % SIZE

# Either end may go on when the other has seen enough.
paused = asyncio.Event()
go = asyncio.Event()
quart_app = Quart(__name__)
quart_app.config["MAX_CONTENT_LENGTH"] = None


@quart_app.post("/")
async def upload():
    size = 0
    async for data in request.body:
        size += len(data)
        paused.set()
        await go.wait()
    return str(size)


async def bare_app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message["body"]), message["more_body"]
        paused.set()
        await go.wait()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


async def sent_meanwhile(app):
    """How much of its body the client got rid of while the application had taken one piece; all of it must arrive."""
    paused.clear()
    go.clear()
    listener = socket.create_server(("127.0.0.1", 0))
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.errorlog = None
    end = asyncio.Event()
    server = asyncio.ensure_future(serve(app, config, shutdown_trigger=end.wait))
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
    sent = 0

    async def send():
        nonlocal sent
        writer.write(HEAD)
        piece = bytes(MIB // 4)
        while sent < SIZE:
            writer.write(piece)
            await writer.drain()
            sent += len(piece)

    sending = asyncio.ensure_future(send())
    await paused.wait()
    await asyncio.wait({sending}, timeout=PAUSE)
    meanwhile = sent
    go.set()
    await sending
    answer = await reader.read()
    assert b"%d" % SIZE in answer.partition(b"\r\n\r\n")[2], "the body did not arrive; look at this script"
    writer.close()
    end.set()
    await server
    return meanwhile


async def main():
    return await sent_meanwhile(quart_app), await sent_meanwhile(bare_app)


print("quart", version("quart"), "hypercorn", version("hypercorn"), "on Python", sys.version.split()[0])
by_quart, bare = asyncio.run(main())
print(f"sent of {SIZE // MIB} MiB while the application had taken one piece:")
print(f"  Quart: {by_quart / MIB:.0f} MiB")
print(f"  bare ASGI application: {bare / MIB:.0f} MiB")
assert bare < SIZE / 2, "the comparison itself does not hold; look at this script"
if by_quart < SIZE:
    sys.exit("no longer so: Quart takes no more of a body than the view reads.")
PY

# Seen on 2026-11-27:
#   quart 0.22.0 hypercorn 0.18.0 on Python 3.11.7
#   sent of 64 MiB while the application had taken one piece:
#     Quart: 64 MiB
#     bare ASGI application: 6 MiB
#   quart 0.23.1 hypercorn 0.18.0 on Python 3.13.0
#   sent of 64 MiB while the application had taken one piece:
#     Quart: 64 MiB
#     bare ASGI application: 6 MiB
