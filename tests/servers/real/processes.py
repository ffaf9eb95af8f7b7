"""A real server as a process: started on loopback, waited for, ended with all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.e2e.processes import answers, clean_environment, wait_until

_STOPPING: Final = 20.0
# What no server may do: fetch, count its users, take all processors.
_QUIET: Final = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}


@contextmanager
def running(
    command: Sequence[str], folder: Path, variables: Mapping[str, str], ready: str, seconds: float
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server, the head of its own group of processes, until the block ends.

    Args:
        command: what to run.
        folder: where; its home and its log `log` are there too.
        variables: beside those of a fresh shell.
        ready: an address that answers 200 once it serves.
        seconds: that it has until then.
    """
    log = folder / "log"
    environment = clean_environment(**{**_QUIET, "HOME": str(folder), **variables})
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        wait_until(lambda: _alive(process, log) and answers(ready), seconds, lambda: _end_of(log))
        yield process
    finally:
        _end(process)


def _alive(process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, f"it ended with {process.returncode}:\n{_end_of(log)}"
    return True


def _end_of(log: Path) -> str:
    return log.read_text("utf-8", errors="replace")[-3000:]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: such a server has processes of its own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_STOPPING)
