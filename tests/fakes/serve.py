"""The fake Ollama as a process of its own: `python -m tests.fakes.serve --port 11434`; SIGTERM stops it."""

import argparse
import asyncio
import signal
import sys

from tests.fakes.ollama import FakeOllama


def fake_for(arguments: list[str] | None = None) -> FakeOllama:
    """Return the fake that a command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.serve", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--blob-delay", type=float, default=0.0, help="seconds between pieces of 1 MiB")
    parser.add_argument("--blob-any-digest", action="store_true", help="accept any bytes under any digest")
    options = parser.parse_args(arguments)
    return FakeOllama(port=options.port, blob_delay=options.blob_delay, blob_any_digest=options.blob_any_digest)


async def serve(fake: FakeOllama) -> None:
    """Serve until SIGTERM or SIGINT; print one line when ready."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with fake:
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(serve(fake_for()))
