"""A worker, as its parent sees it: a process, and the channel to it."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from mlops_backend.config import Settings
from mlops_backend.workers.board import memory_file
from mlops_backend.workers.channel import Channel
from mlops_backend.workers.hub import Hub

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
# Has the file of backends read, where there is one.
RELOAD: Final = signal.SIGHUP
_LOOK: Final = 0.01
# Where clients come, and where monitoring does, if that has a port of its own.
Bound = tuple[socket.socket, socket.socket | None]
# A process whose channel has closed ends; one that does not has lost its way.
_ENDING: Final = 10.0


@dataclass(frozen=True, slots=True)
class Briefing:
    """What a worker is told when it starts; the descriptors are its own."""

    settings: Settings
    index: int
    engine: tuple[str, str] | None
    listener: int
    for_metrics: int | None
    channel: int
    board: int


class Worker:
    """A process that was started.

    Args:
        index: its number.
        process: it.
        channel: to it.
    """

    def __init__(self, index: int, process: subprocess.Popen[bytes], channel: Channel) -> None:
        self.index = index
        self.channel = channel
        self.serves = asyncio.Event()
        self.refusal: tuple[int, str] | None = None
        self._process = process

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    async def ended(self) -> int:
        """Wait for its end; its exit status, or minus the signal that ended it."""
        await self.channel.lost.wait()
        until = asyncio.get_running_loop().time() + _ENDING
        while (status := self._process.poll()) is None:
            if asyncio.get_running_loop().time() > until:
                self.kill()
            await asyncio.sleep(_LOOK)
        return status

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self._process.kill()


async def start(
    hub: Hub, settings: Settings, index: int, engine: tuple[str, str] | None, bound: Bound, board: int
) -> Worker:
    """Start a worker; it connects when it is ready to be spoken to."""
    ours, its = socket.socketpair()
    listener, for_metrics = bound[0].fileno(), None if bound[1] is None else bound[1].fileno()
    with its:
        briefing = Briefing(settings, index, engine, listener, for_metrics, its.fileno(), board)
        told = memory_file(pickle.dumps(briefing))
        descriptors = [listener, its.fileno(), board, *([] if for_metrics is None else [for_metrics])]
        try:
            process = _spawn(told, *descriptors)
        except BaseException:
            ours.close()
            raise
        finally:
            os.close(told)
    return Worker(index, process, await hub.join(ours, f"worker {index}"))


def _spawn(told: int, *descriptors: int) -> subprocess.Popen[bytes]:
    options = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    with _signals_wait():
        return subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, *options, "-m", "mlops_backend.workers", str(told), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            pass_fds=(told, *descriptors),
        )


@contextmanager
def _signals_wait() -> Iterator[None]:
    """What is started meanwhile begins with the signals held back, until it has a handler for them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*SIGNALS, RELOAD))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
