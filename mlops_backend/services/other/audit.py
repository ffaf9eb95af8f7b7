"""The audit log: what administrators do, and what others tried, in a file of its own or among the other lines.

With a file each line is opened, appended with one write, and on the disk before anything goes on: so it may be renamed
at any time, several processes may write to it, and nobody holds an old one. Without a file its lines are those of the
ordinary log, whatever its level.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from pydantic_core import to_json

from mlops_backend.errors import AuditUnavailable
from mlops_backend.telemetry.logging import log_audit
from mlops_backend.telemetry.redaction import redact_event

Entry = Mapping[str, Any]

# A disk that takes longer is away.
_WITHIN: Final = 5.0
_MOST_WAITING: Final = 10_000
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK

log: Final = structlog.get_logger(__name__)


class AuditLog:
    """Takes entries: one before an action, without which it is not begun, and one when it has ended.

    Args:
        path: the file; empty: there is none.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._writer: ThreadPoolExecutor | None = None
        self._waiting = 0

    async def open(self) -> None:
        """Nothing is held open."""

    async def aclose(self) -> None:
        """Come back when all has been written."""
        writer, self._writer = self._writer, None
        if writer is not None:
            await asyncio.to_thread(writer.shutdown)

    async def begin(self, entry: Entry) -> None:
        """Write that an action begins; come back when that is on the disk.

        Raises:
            AuditUnavailable: it cannot be written, and so the action must not be done.
        """
        if not self._path:
            return
        try:
            async with asyncio.timeout(_WITHIN):
                await asyncio.wrap_future(self._handed(entry, "begun", sync=True))
        except (OSError, TimeoutError, RuntimeError) as error:
            self._complain(error)
            raise AuditUnavailable("What administrators do cannot be noted at present, and so is not done.") from None

    def end(self, entry: Entry, *, sync: bool = True) -> None:
        """Write how it ended, soon; where that cannot be written, it is told in the ordinary log.

        Args:
            entry: all that is known of it.
            sync: have it on the disk at once; what was refused need not be.
        """
        if not self._path:
            log_audit({"stage": "ended", **entry})
            return
        try:
            self._handed(entry, "ended", sync=sync).add_done_callback(lambda done: self._ended(entry, done))
        except (OSError, RuntimeError) as error:
            self._lost(entry, error)

    def _handed(self, entry: Entry, stage: str, *, sync: bool) -> Future[None]:
        """Hand a line to the thread that writes."""
        if self._waiting >= _MOST_WAITING:
            raise OSError(errno.EAGAIN, "too many lines wait to be written")
        self._writer = self._writer or ThreadPoolExecutor(1, "audit")
        future = self._writer.submit(append, self._path, line_of(entry, stage), sync=sync)
        self._waiting += 1
        future.add_done_callback(self._written)
        return future

    def _written(self, _: Future[None]) -> None:
        self._waiting -= 1

    def _ended(self, entry: Entry, done: Future[None]) -> None:
        if (error := done.exception()) is not None:
            self._lost(entry, error)

    def _lost(self, entry: Entry, error: BaseException) -> None:
        self._complain(error)
        log_audit({"stage": "ended", **entry})

    def _complain(self, error: BaseException) -> None:
        log.error("audit_log_unwritable", file=self._path, reason=str(error) or type(error).__name__)


def line_of(entry: Entry, stage: str) -> bytes:
    """An entry as it is written: without what is empty, and without secrets."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    told = {name: value for name, value in entry.items() if value not in ("", (), None)}
    return to_json(redact_event(None, "audit", {"time": now, "stage": stage, **told})) + b"\n"


def append(path: str, line: bytes, *, sync: bool) -> None:
    """Put a line at the end of a file, which is made for its owner alone where it is not there.

    Raises:
        OSError: it cannot be written, not whole, or is no file.
    """
    descriptor = os.open(path, _FLAGS, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no file")
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # nobody looks at the end of what another is writing
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line  # somebody could not write the whole of one
        if os.write(descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
