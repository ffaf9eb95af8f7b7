#!/usr/bin/env bash
# aiohttp's client calls its protocol and its parser once more, with no bytes, for each piece that is read of a body.
#
# `StreamReader.read`, `readany`, `iter_any` and `iter_chunked` end in `_read_nowait_chunk`, which calls the protocol's
# `resume_reading` whenever little is buffered, and not only when reading had been paused. Since `resume_reading` has the
# parser go on with what a pause left, each call is a `data_received(b"")`. For a stream of small pieces, such as the
# tokens of a language model, that is a second round through protocol and parser for each of them. A protocol whose
# `resume_reading` does nothing unless reading is paused gives the same bytes.
#
# For whom: relays of many small pieces over aiohttp, who count what a piece costs; and whoever overrides
# `data_received` in a protocol of their own, and is surprised that it is entered again from a reader's `read`.
# Versions: aiohttp 3.14.5, the newest on 2026-11-29; Python 3.11 and 3.13.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install -q --disable-pip-version-check aiohttp==3.14.5
timeout 60 "$folder/venv/bin/python" - <<'PY'
import asyncio
import sys
from functools import partial
from importlib.metadata import version

import aiohttp
from aiohttp.client_proto import ResponseHandler

PIECES = 500
PIECE = b'{"response":"word ","done":false}\n'
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Counting(ResponseHandler):
    """Counts how often it is given bytes, and how often none."""

    some = none = 0

    def data_received(self, data):
        if data:
            type(self).some += 1
        else:
            type(self).none += 1
        super().data_received(data)


class Asked(Counting):
    """The same, but that it resumes only what was paused."""

    some = none = 0

    def resume_reading(self, resume_parser=True):
        if self._reading_paused:
            super().resume_reading(resume_parser)


async def serve(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(HEAD)
    for _ in range(PIECES):
        writer.write(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
        await asyncio.sleep(0.001)
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    writer.close()


async def read(kind, url):
    connector = aiohttp.TCPConnector()
    connector._factory = partial(kind, loop=asyncio.get_running_loop())
    async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as response:
        pieces = [piece async for piece in response.content.iter_any()]
    return b"".join(pieces), len(pieces)


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    print(f"aiohttp {version('aiohttp')}, Python {sys.version.split()[0]}")
    for kind, words in ((Counting, "as it is"), (Asked, "resuming only what was paused")):
        body, pieces = await read(kind, url)
        assert body == PIECE * PIECES and pieces > PIECES / 2, "the stream did not come whole; look at this script"
        print(f"  {words}: {pieces} reads; data_received with bytes {kind.some} times, without {kind.none} times")
        kind.reads = pieces
    server.close()
    assert Asked.none == 0, "a reader that was never full was resumed all the same; look at this script"
    if Counting.none < Counting.reads * 0.9:
        sys.exit("no longer so: a read of a body is no call of data_received without bytes")


asyncio.run(main())
PY
# Seen on 2026-11-29:
# aiohttp 3.14.5, Python 3.11.7
#   as it is: 500 reads; data_received with bytes 501 times, without 500 times
#   resuming only what was paused: 500 reads; data_received with bytes 501 times, without 0 times
