"""A collector of traces that takes everything and looks at nothing: `python -m bench.collector --port N`."""

import argparse
import asyncio
from typing import cast

from bench.requests_in import RequestsIn

TAKEN = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
ASKED = b"GET "


class Collector(RequestsIn):
    """One connection; `bodies` counts what was taken on all."""

    bodies = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport = cast(asyncio.Transport, transport)

    def _answer(self, head: bytes, body: bytes) -> None:
        """Take every body; whoever asks with GET hears how many there were."""
        asked = head.startswith(ASKED)
        Collector.bodies += not asked
        self._transport.write(_told(Collector.bodies) if asked else TAKEN)


def _told(bodies: int) -> bytes:
    text = b"%d" % bodies
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)


async def serve(port: int) -> None:
    """Serve until it is ended."""
    server = await asyncio.get_running_loop().create_server(Collector, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(serve(parser.parse_args().port))
