"""Server processes for the length of one run: started, waited for, ended by their own ids."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.call_client import Caller
from bench.wire import HOST, Address

ROOT = Path(__file__).resolve().parent.parent
START_TIME = 120.0
STOP_TIME = 5.0
SHOWN = 2000


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(address: Address, command: Sequence[str], folder: Path, settings: Mapping[str, str]) -> Iterator[Address]:
    """Run a server until the block ends; its output goes to a file, its environment is only what is given."""
    log = folder / f"{address.name}.log"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        _wait_until_it_answers(address, process, log)
        yield replace(address, pid=process.pid)
    finally:
        _end(process)


def _wait_until_it_answers(address: Address, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIME
    caller = Caller(address)
    while True:
        try:
            caller.call()
        except (OSError, RuntimeError) as exc:
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace")[-SHOWN:]
                raise SystemExit(f"{address.name} does not answer ({exc}); it said:\n{said}") from exc
            time.sleep(0.05)
        else:
            return
        finally:
            caller.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIME)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
