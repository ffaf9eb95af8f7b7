"""Helper processes of the trial: each ends by itself when the trial, which holds its standard input, is gone."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.processes import ROOT

START_TIME = 20.0
STOP_TIME = 5.0


class Helper:
    """A process that runs: it has said its first line."""

    def __init__(self, process: asyncio.subprocess.Process, first_line: str) -> None:
        self.process = process
        self.first_line = first_line

    async def finish(self, seconds: float) -> bytes:
        """Tell it that it may end, and return what it still says."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        return await asyncio.wait_for(self.process.stdout.read(), seconds)


@asynccontextmanager
async def started(module: str, *arguments: str) -> AsyncIterator[Helper]:
    """Run a module of the trial until the block ends."""
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", module, *arguments)
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe, limit=1 << 26)
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), START_TIME)
        if not line:
            raise RuntimeError(f"{module} has ended without a word")
        yield Helper(process, line.decode().strip())
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Let go of it, so that it ends by itself; a signal would be a race with asyncio's own waiting."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), STOP_TIME)
    except TimeoutError:
        process.kill()
        await process.wait()


def until_left_alone() -> None:
    """Wait, in a helper process, until the trial lets go of the standard input."""
    while sys.stdin.buffer.read(1):
        pass
