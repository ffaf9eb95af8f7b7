"""One run of the embedded engine's process, from its spawn to its end."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from mlops_backend.services.llm.embedded.files import INSTALL_COMMAND, EngineUnavailable

START_LIMIT: Final = 120.0
STOP_STEP: Final = 1.0
_SCRIPT: Final = Path(__file__).with_name("child.py")
_KEPT_LINES: Final = 50
_KEPT_BYTES: Final = 500
_MISSING_LIBRARY: Final = re.compile(r"ImportError: (\S+): cannot open shared object file")


class EngineProcess:
    """A child process that listens; made by `spawn`, ended by `stop`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def spawn(cls, config: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> EngineProcess:
        """Start the child and wait until it listens; the configuration, key included, goes by its standard input.

        Args:
            config: see `child.py`.
            environment: its variables; this process's own when left out.

        Raises:
            EngineUnavailable: it ended first, or did not listen within `START_LIMIT` seconds.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(_SCRIPT),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            env=environment,
        )
        child = cls(process)
        try:
            await child._wait_until_it_listens(config)
        except BaseException:
            await child.stop()
            raise
        return child

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The last lines it wrote to standard error."""
        return "\n".join(self._last_lines)

    async def wait(self) -> int:
        """Wait for its end; the exit status, or minus the signal that ended it."""
        code = await self._process.wait()
        await asyncio.gather(self._listener, return_exceptions=True)
        return code

    async def stop(self) -> None:
        """End it: by closing its standard input, then by SIGTERM, then by SIGKILL, `STOP_STEP` seconds apart.

        A caller that is cancelled meanwhile leaves a killed process behind, never a running one.
        """
        assert self._process.stdin is not None  # noqa: S101 - it was spawned with a pipe
        self._process.stdin.close()
        try:
            for harder in (self._process.terminate, self._process.kill):
                with suppress(TimeoutError):
                    async with asyncio.timeout(STOP_STEP):
                        await self._process.wait()
                    break
                with suppress(ProcessLookupError):
                    harder()
            await self._process.wait()
        finally:
            if self._process.returncode is None:
                with suppress(ProcessLookupError):
                    self._process.kill()
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)

    async def _wait_until_it_listens(self, config: Mapping[str, Any]) -> None:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: S101, PT018 - it was spawned with pipes
        try:
            stdin.write(json.dumps(config).encode() + b"\n")
            await stdin.drain()
            async with asyncio.timeout(START_LIMIT):
                line = await stdout.readline()
        except ConnectionError:
            line = b""
        except TimeoutError:
            raise EngineUnavailable(f"The embedded engine did not start within {START_LIMIT:.0f} s.") from None
        if not line:
            code = await self.wait()
            raise EngineUnavailable(_why(code, self._last_lines), self.last_words)

    async def _listen(self) -> None:
        """Read standard error, so that the child never blocks on it, and keep the end."""
        assert self._process.stderr is not None  # noqa: S101 - it was spawned with a pipe
        rest = b""
        while data := await self._process.stderr.read(65536):
            *lines, rest = (rest[-_KEPT_BYTES:] + data).split(b"\n")
            self._keep(lines)
        self._keep([rest])

    def _keep(self, lines: list[bytes]) -> None:
        texts = (line[:_KEPT_BYTES].decode(errors="replace").strip() for line in lines[-_KEPT_LINES:])
        self._last_lines.extend(text for text in texts if text)


def _why(code: int, last_lines: Sequence[str]) -> str:
    """One sentence about a start that failed; a stack trace's last line is its error."""
    last = last_lines[-1] if last_lines else "it gave no reason"
    if missing := _MISSING_LIBRARY.match(last):
        needed = f"The embedded engine needs the library {missing[1]}, which is not there"
        return f"{needed}; install it with: {INSTALL_COMMAND}"
    return f"The embedded engine ended with status {code} while starting: {last}"
