#!/usr/bin/env bash
# Quart stops a streamed answer after RESPONSE_TIMEOUT, 60 s as it comes, and logs nothing.
#
# The clock runs over the whole body, not between two chunks, so it stops a stream that is well. What the client sees
# depends on the version: Quart 0.22 closes the connection in the middle of the body; Quart 0.23 cancels the generator
# and leaves the connection open and silent. `response.timeout = None` switches the clock off for one answer.
#
# For whom: streams that may last longer than a minute.
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
import logging
import os
import socket
import sys
import time
from importlib.metadata import version

from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, Response

TIMEOUT = 1.0
TICKS = 12
TICK = 0.25
PATIENCE = 6.0
logged: list = []


class Kept(logging.Handler):
    def emit(self, record):
        logged.append(record.getMessage())


app = Quart(__name__)
default = app.config["RESPONSE_TIMEOUT"]
app.config["RESPONSE_TIMEOUT"] = TIMEOUT


async def ticks():
    for _ in range(TICKS):
        yield b"tick\n"
        await asyncio.sleep(TICK)


@app.get("/bounded")
async def bounded():
    return Response(ticks())


@app.get("/unbounded")
async def unbounded():
    response = Response(ticks())
    response.timeout = None
    return response


@app.get("/broken")
async def broken():
    async def raises():
        yield b"tick\n"
        raise RuntimeError("on purpose, to see that a line is logged")

    return Response(raises())


async def answer(port, path):
    """Lines that came, whether the body came to its proper end, and how the connection was left after how long."""
    begin = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path)
    got = b""
    try:
        while True:
            data = await asyncio.wait_for(reader.read(65536), max(begin + PATIENCE - time.monotonic(), 0.01))
            if not data:
                left = f"closed after {time.monotonic() - begin:.1f} s"
                break
            got += data
    except asyncio.TimeoutError:
        left = f"open and silent after {PATIENCE:.0f} s"
    writer.close()
    return got.count(b"tick"), got.endswith(b"\r\n0\r\n\r\n"), left


async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.loglevel, config.errorlog = "WARNING", os.devnull  # what is logged is kept by `Kept`
    end = asyncio.Event()
    server = asyncio.ensure_future(serve(app, config, shutdown_trigger=end.wait))
    port = listener.getsockname()[1]
    await asyncio.sleep(0.5)
    logging.getLogger().addHandler(Kept(logging.DEBUG))
    for name in ("hypercorn.error", "quart.app", app.logger.name, "asyncio"):
        logging.getLogger(name).addHandler(Kept(logging.WARNING))
    seen = await answer(port, b"/bounded"), list(logged), await answer(port, b"/unbounded")
    await answer(port, b"/broken")
    assert logged, "this script does not see what is logged"
    end.set()
    await server
    return seen


print("quart", version("quart"), "hypercorn", version("hypercorn"), "on Python", sys.version.split()[0])
cut, lines, whole = asyncio.run(main())
print(f"RESPONSE_TIMEOUT as it comes: {default} s; here {TIMEOUT} s, with a line each {TICK} s")
print(f"cut: {cut[0]} of {TICKS} lines, proper end: {cut[1]}, connection {cut[2]}, lines logged: {len(lines)}")
print(f"with response.timeout = None: {whole[0]} of {TICKS} lines, proper end: {whole[1]}, connection {whole[2]}")
assert whole[:2] == (TICKS, True), "the comparison itself does not hold; look at this script"
if cut[0] == TICKS or cut[1]:
    sys.exit("no longer so: Quart lets a stream go on that sends in time.")
if lines:
    sys.exit("no longer so: Quart or Hypercorn tells that a stream was cut.")
closed = cut[2].startswith("closed")
if closed != version("quart").startswith("0.22."):
    sys.exit("no longer so: Quart leaves the connection of a stream that it has cut in another way.")
PY

# Seen on 2026-11-27:
#   quart 0.22.0 hypercorn 0.18.0 on Python 3.11.7
#   RESPONSE_TIMEOUT as it comes: 60 s; here 1.0 s, with a line each 0.25 s
#   cut: 4 of 12 lines, proper end: False, connection closed after 1.0 s, lines logged: 0
#   with response.timeout = None: 12 of 12 lines, proper end: True, connection closed after 3.0 s
#   quart 0.23.1 hypercorn 0.18.0 on Python 3.13.0
#   RESPONSE_TIMEOUT as it comes: 60 s; here 1.0 s, with a line each 0.25 s
#   cut: 4 of 12 lines, proper end: False, connection open and silent after 6 s, lines logged: 0
#   with response.timeout = None: 12 of 12 lines, proper end: True, connection closed after 3.0 s
