"""Where log lines go: a bounded queue before a thread of its own, so that a log can neither stop nor cost anything.

Standard output may be a pipe that nobody reads, one whose reader has gone, or a file on a full disk. A line that cannot
be written is counted, and nobody waits for it.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic
from typing import Final, Protocol, TextIO

MOST_LINES: Final = 20_000
MOST_BYTES: Final = 8 * 1024 * 1024
# Lines are gathered for a moment: a thread that woke for each would take the processor from a request each time.
_GATHERED: Final = 0.05
# A pipe that is ready takes this much without waiting, and whole (POSIX); of more it might take a part and wait then.
_AT_ONCE: Final = select.PIPE_BUF
_LOOK: Final = 0.5
_QUIET: Final = 60.0

Report = Callable[[int, str], str]


class Sink(Protocol):
    """Takes text, and never raises."""

    @property
    def dropped(self) -> int:
        """How many lines were lost."""

    def write(self, text: str) -> None:
        """Take one whole line."""

    def finish(self, seconds: float) -> None:
        """Write what waits, for so long at most."""

    def close(self, seconds: float) -> None:
        """Do the same, and take nothing afterwards."""


class StreamSink:
    """A stream without a descriptor, as tests and notebooks put in the place of standard output."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.dropped = 0

    def write(self, text: str) -> None:
        """Write at once; a stream that is not there, or cannot, loses it."""
        try:
            assert self._stream is not None  # noqa: S101 - counted below
            self._stream.write(text)
        except Exception:
            self.dropped += 1

    def finish(self, seconds: float) -> None:
        """Do nothing."""

    def close(self, seconds: float) -> None:
        """Do nothing: the stream is another's."""


class LogWriter:
    """Writes to a descriptor of its own, a copy of the one that it is given.

    Args:
        descriptor: of standard output.
        report: makes the line that tells how many were lost, and why.
        otherwise: a descriptor to tell it on while the first cannot be written; `None`: there is no other.
    """

    def __init__(self, descriptor: int, report: Report, otherwise: int | None = None) -> None:
        self._descriptor = os.dup(descriptor)
        self._otherwise = otherwise
        self._report = report
        self._lock = threading.Lock()
        self._some, self._hurry, self._idle = threading.Event(), threading.Event(), threading.Event()
        self._closing = False
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._broken = False
        self._reason = ""
        self._told, self._quiet_until = 0, 0.0
        self._give_up = float("inf")
        self._thread: threading.Thread | None = None
        self.dropped = 0

    def write(self, text: str) -> None:
        """Take one line; it is lost, and counted, where too many wait already."""
        line = text.encode("utf-8", "backslashreplace")
        with self._lock:
            if self._closing or len(self._waiting) >= MOST_LINES or self._bytes + len(line) > MOST_BYTES:
                self._lose(1, "nobody reads the log")
                return
            self._waiting.append(line)
            self._bytes += len(line)
            if self._idle.is_set():
                self._idle.clear()
            if self._thread is None:
                self._start()
        if not self._some.is_set():  # while it is, the thread has yet to take what waits
            self._some.set()

    def _lose(self, lines: int, reason: str) -> None:
        """Count lost lines; the lock is held, since both sides of the queue do."""
        self.dropped += lines
        self._reason = self._reason or reason

    def finish(self, seconds: float) -> None:
        """Write what waits, for so long at most."""
        if self._thread is not None:
            self._hurry.set()
            self._idle.wait(seconds)
            self._hurry.clear()

    def close(self, seconds: float) -> None:
        """Write what waits, for so long at most; what is left, and what comes later, is lost."""
        self._give_up = monotonic() + seconds
        with self._lock:
            self._closing = True
        self._hurry.set()
        self._some.set()
        if self._thread is None:
            os.close(self._descriptor)
        else:
            self._thread.join(seconds + _LOOK)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="log", daemon=True)
        with suppress(RuntimeError):  # the system has no thread to spare: the next line tries again
            thread.start()
            self._thread = thread

    def _run(self) -> None:
        closing = False
        while not closing:
            self._some.wait()
            self._hurry.wait(_GATHERED)
            self._some.clear()
            closing = self._closing
            self._write_all()
        os.close(self._descriptor)

    def _write_all(self) -> None:
        with self._lock:
            lines, self._waiting, self._bytes = self._waiting, deque(), 0
        for piece, count in _pieces(lines):
            if (reason := self._write_whole(piece)) is not None:
                with self._lock:
                    self._lose(count, reason)
        if self.dropped > self._told and monotonic() >= self._quiet_until:
            self._tell()
        with self._lock:
            if not self._waiting:
                self._idle.set()

    def _write_whole(self, piece: bytes) -> str | None:
        """Write a piece, all of it; or say why not."""
        left = memoryview(b"\n" + piece if self._broken else piece)
        try:
            while left:
                if not self._is_ready():
                    raise TimeoutError("nobody reads the log")
                with suppress(BlockingIOError):
                    left = left[os.write(self._descriptor, left[:_AT_ONCE]) :]
        except OSError as error:
            self._broken = self._broken or len(left) < len(piece)
            return error.strerror or str(error)
        self._broken = False
        return None

    def _is_ready(self) -> bool:
        """Wait until a write would not; false when it is time to give up."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while not poll.poll(_LOOK * 1000):
            if monotonic() > self._give_up:
                return False
        return True

    def _tell(self) -> None:
        """Say what was lost: in the log, or beside it while it cannot be written."""
        line = self._report(self.dropped, self._reason).encode()
        if self._write_whole(line) is None or self._told_otherwise(line):
            self._told, self._quiet_until, self._reason = self.dropped, monotonic() + _QUIET, ""

    def _told_otherwise(self, line: bytes) -> bool:
        if self._otherwise is None:
            return False
        poll = select.poll()
        poll.register(self._otherwise, select.POLLOUT)
        with suppress(OSError):
            return bool(poll.poll(0)) and os.write(self._otherwise, line[:_AT_ONCE]) > 0
        return False


def sink_for(stream: TextIO | None, report: Report) -> Sink:
    """Where to write lines that are meant for `stream`."""
    try:
        assert stream is not None  # noqa: S101 - standard output was closed before the start
        return LogWriter(stream.fileno(), report, _standard_error(stream.fileno()))
    except (AssertionError, OSError, ValueError, AttributeError):
        return StreamSink(stream)


def _standard_error(descriptor: int) -> int | None:
    """Standard error's descriptor, if it goes elsewhere than `descriptor`."""
    try:
        other = sys.stderr.fileno()
        return None if os.path.sameopenfile(descriptor, other) else other
    except (OSError, ValueError, AttributeError):
        return None


def _pieces(lines: deque[bytes]) -> Iterator[tuple[bytes, int]]:
    """Whole lines together, as much as can be written at once, and how many they are; a longer line alone."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        if held and size + len(line) > _AT_ONCE:
            yield b"".join(held), len(held)
            held, size = [], 0
        held.append(line)
        size += len(line)
    if held:
        yield b"".join(held), len(held)
