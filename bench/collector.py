"""A collector of traces that takes everything and looks at nothing: `python -m bench.collector --port N`."""

import argparse
import asyncio
import re
from typing import cast

LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
TAKEN = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
ASKED = b"GET "


class Collector(asyncio.Protocol):
    """One connection; `bodies` counts what was taken on all."""

    bodies = 0

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take every body that is complete; whoever asks with GET hears how many there were."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self._buffer, 0, end)
            body_end = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < body_end:
                return
            asked, self._buffer = self._buffer.startswith(ASKED), self._buffer[body_end:]
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
