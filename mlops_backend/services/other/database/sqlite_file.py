"""SQLite's file: what no waiting mends is told apart from what is only away for now."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

# The others (a full disk, one that fails, too many files) may pass.
_LASTING: Final = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.EEXIST,
        errno.ENOTDIR,
        errno.ENOENT,
        errno.ELOOP,
        errno.ENAMETOOLONG,
    }
)
_RIGHTS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_GARBAGE: Final = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
_CLOSED: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})
# What SQLite keeps beside its file, with what was written last.
_BESIDE: Final = ("-wal", "-shm")
_PRIMARY: Final = 0xFF
_EFFECTIVE: Final = os.access in os.supports_effective_ids


class UnusableDatabase(Exception):
    """What was named can never be a database, whatever one waits for."""


def prepare_file(file: Path) -> None:
    """See that a database's file and its folder can be read and written; make them if they are not there.

    Raises:
        UnusableDatabase: they cannot.
        OSError: not now.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        kind = _kind(file)
    except OSError as error:
        if error.errno not in _LASTING:
            raise
        why = f"{file.parent} is no folder" if error.errno == errno.EEXIST else error.strerror
        rights = _rights(file) if error.errno in _RIGHTS else ""
        raise UnusableDatabase(f"{file} cannot be made: {why}{rights}") from None
    if not stat.S_ISREG(kind):
        raise UnusableDatabase(f"{file} is {'a directory' if stat.S_ISDIR(kind) else 'no file'}")
    _check_access(file, str(file))
    for suffix in _BESIDE:
        beside = file.with_name(file.name + suffix)
        if beside.exists():
            _check_access(beside, str(beside))
    _check_access(file.parent, f"the folder {file.parent}")


def check_file(file: Path) -> None:
    """Look at it before anything else is done; what may pass is no matter here.

    Raises:
        UnusableDatabase: it cannot be a database.
    """
    with suppress(OSError, sqlite3.OperationalError):
        prepare_file(file)
        with closing(sqlite3.connect(file, timeout=0)) as connection:
            try:
                connection.execute("PRAGMA schema_version")
            except sqlite3.DatabaseError as error:
                refuse_garbage(error, file)


def refuse_garbage(error: BaseException | None, file: Path) -> None:
    """Put words of ours in the place of SQLite's own error, if it says that the file holds something else.

    Raises:
        UnusableDatabase: it does.
    """
    if getattr(error, "sqlite_errorcode", 0) & _PRIMARY in _GARBAGE:
        raise UnusableDatabase(f"{file} cannot be used: {error}") from None


def in_full(error: BaseException, file: Path) -> str:
    """SQLite's own words, and where it was kept from a file the path, the user and what to do."""
    closed = getattr(error, "sqlite_errorcode", 0) & _PRIMARY in _CLOSED
    return f"{file}: {error}{_rights(file)}" if closed else str(error)


def _rights(path: Path) -> str:
    """Who this is, whose the nearest thing is that is there, and what an operator can do."""
    there = next((place for place in (path, *path.parents) if os.path.exists(place)), path)
    owner = ""
    with suppress(OSError):
        status = there.stat()
        owner = f", and {there} is {stat.filemode(status.st_mode)} of user {status.st_uid} and group {status.st_gid}"
    return (
        f" (the service runs as user {os.geteuid()} and group {os.getegid()}{owner}:"
        " let that user write to the file and its folder, or name another file)"
    )


def _kind(file: Path) -> int:
    """What is there; nothing becomes an empty file, which is an empty database.

    One that is there is not opened: with its closing this process would lose the locks that it has on it. Where the
    folder is a group's, the file is too: a platform may start the service as another user of that group next time.
    """
    with suppress(FileExistsError):
        made = os.open(os.path.realpath(file), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        try:
            if file.parent.stat().st_mode & stat.S_IWGRP:
                os.fchmod(made, 0o660)
        finally:
            os.close(made)
    return file.stat().st_mode


def _check_access(path: Path, called: str) -> None:
    for mode, word in ((os.R_OK, "read"), (os.W_OK, "written")):
        if not os.access(path, mode, effective_ids=_EFFECTIVE):
            raise UnusableDatabase(f"{called} cannot be {word}{_rights(path)}")
