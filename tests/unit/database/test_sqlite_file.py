"""SQLite's file: what can never be a database is refused, what may pass is waited for."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from mlops_backend.config import ConfigError
from mlops_backend.errors import DatabaseDown
from mlops_backend.services.other.database import Database, UnusableDatabase, check_database
from mlops_backend.services.other.database import database as database_module
from mlops_backend.services.other.database.sqlite_file import check_file, in_full
from tests.databases import sqlite_template
from tests.service import settings_for

NOBODY = 65534


def _garbage(file: Path) -> Path:
    file.write_bytes(b"no database at all\n" * 300)
    return file


def _short(file: Path) -> Path:
    file.write_bytes(b"abc")
    return file


def _damaged(file: Path) -> Path:
    whole = sqlite_template()
    file.write_bytes(whole[:100] + b"\xff" * 8000 + whole[8100:])
    return file


def _directory(file: Path) -> Path:
    file.mkdir()
    return file


def _pipe(file: Path) -> Path:
    os.mkfifo(file)
    return file


def _behind_a_file(file: Path) -> Path:
    file.touch()
    return file / "x.db"


def _long(file: Path) -> Path:
    return file / ("x" * 300)


Making = Callable[[Path], Path]
UNUSABLE: dict[Making, str] = {
    _garbage: "cannot be used: file is not a database",
    _short: "cannot be used: file is not a database",
    _damaged: "cannot be used: ",
    _directory: "is a directory",
    _pipe: "is no file",
    _behind_a_file: "is no folder",
    _long: "cannot be made: File name too long",
}


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the machine can come to."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of an administrator, who may read and write everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(("make", "words"), UNUSABLE.items())
async def test_what_can_never_be_a_database_is_refused(tmp_path: Path, make: Making, words: str) -> None:
    """In a sentence that names the setting and the file; it is left as it was, and nothing is waited for."""
    file = make(tmp_path / "a")
    before = file.read_bytes() if file.is_file() else b""
    database = Database(f"sqlite+aiosqlite:///{file}")
    with pytest.raises(UnusableDatabase) as refused:
        await database.open()
    await database.aclose()
    assert str(refused.value).startswith(f"DATABASE_URL: {file} ")
    assert words in str(refused.value)
    assert not before or file.read_bytes() == before


@pytest.mark.parametrize("make", [make for make in UNUSABLE if make is not _damaged])
def test_it_is_refused_before_anything_is_served_too(tmp_path: Path, make: Making) -> None:
    """For servers that would tell it by a stack trace."""
    settings = settings_for(database_url=f"sqlite:///{make(tmp_path / 'a')}")
    with pytest.raises(ConfigError, match=r"^DATABASE_URL: /[^\n]+$"):
        check_database(settings)


@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "asked", "words"),
    [
        (0o000, 0o777, "a.db", r"a\.db cannot be read \("),
        (0o444, 0o777, "a.db", r"a\.db cannot be written \("),
        (0o666, 0o555, "a.db", r"the folder .+ cannot be written \("),
        (0o666, 0o555, "b.db", r"b\.db cannot be made: Permission denied \("),
        (0o666, 0o555, "c/b.db", r"b\.db cannot be made: Permission denied \("),
        (0o666, 0o000, "a.db", r"a\.db cannot be made: Permission denied \("),
    ],
)
def test_files_and_folders_that_are_closed_are_refused(
    open_folder: Path, file_mode: int, folder_mode: int, asked: str, words: str
) -> None:
    """Each is named, with what cannot be done to it, by whom, and whose it is; SQLite writes beside its file too."""
    (open_folder / "a.db").write_bytes(sqlite_template())
    (open_folder / "a.db").chmod(file_mode)
    open_folder.chmod(folder_mode)
    try:
        with as_nobody(), pytest.raises(UnusableDatabase, match=words) as refused:
            check_file(open_folder / asked)
    finally:
        open_folder.chmod(0o755)
    user, group = os.geteuid() or NOBODY, os.getegid()
    assert f"the service runs as user {user} and group {group}, and {open_folder}" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_what_another_user_left_beside_a_file_is_named(open_folder: Path, suffix: str) -> None:
    """SQLite itself would only say that the database is read-only."""
    (open_folder / "a.db").write_bytes(sqlite_template())
    (open_folder / "a.db").chmod(0o666)
    (open_folder / f"a.db{suffix}").touch(0o444)
    open_folder.chmod(0o777)
    with as_nobody(), pytest.raises(UnusableDatabase, match=rf"a\.db{suffix} cannot be written \("):
        check_file(open_folder / "a.db")


@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o755, 0o644), (0o770, 0o660)])
def test_a_file_is_its_groups_where_its_folder_is(tmp_path: Path, folder_mode: int, file_mode: int) -> None:
    """A platform that chooses the user may choose another one next time; the group stays."""
    tmp_path.chmod(folder_mode)
    check_file(tmp_path / "a.db")
    assert stat.S_IMODE((tmp_path / "a.db").stat().st_mode) == file_mode


def test_a_file_that_closes_later_is_told_with_who_and_where(open_folder: Path) -> None:
    """SQLite tells neither; what is no matter of rights is told in its own words."""
    (open_folder / "a.db").write_bytes(sqlite_template())
    open_folder.chmod(0o700)
    with as_nobody(), pytest.raises(sqlite3.OperationalError) as failed:
        sqlite3.connect(open_folder / "a.db").execute("PRAGMA schema_version")
    told = in_full(failed.value, open_folder / "a.db")
    assert told.startswith(f"{open_folder}/a.db: unable to open database file (the service runs as user ")
    assert in_full(sqlite3.OperationalError("disk I/O error"), open_folder / "a.db") == "disk I/O error"


def test_what_becomes_a_database_is_taken(tmp_path: Path) -> None:
    """A file that is empty or not there, in folders that are not there, or behind a link that leads to none."""
    (tmp_path / "empty.db").touch()
    (tmp_path / "link.db").symlink_to(tmp_path / "target.db")
    for name in ("empty.db", "new.db", "a/b/c.db", "link.db"):
        check_database(settings_for(database_url=f"sqlite:///{tmp_path}/{name}"))
        assert (tmp_path / name).read_bytes() == b""
    check_database(settings_for(database_url="postgresql://nobody@127.0.0.1:1/none"))


async def test_a_locked_file_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds it lets it go some day: the service starts without it, and takes it up then."""
    monkeypatch.setattr(database_module, "_BUSY_TIMEOUT", 0.01)
    monkeypatch.setattr(database_module, "_RETRY_AFTER", 0.01)
    holder = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    holder.execute("PRAGMA locking_mode=EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    check_database(settings_for(database_url=f"sqlite:///{tmp_path}/a.db"))
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/a.db")
    await database.open()
    assert not database.up
    holder.close()
    async with asyncio.timeout(20):
        while not database.up:
            await asyncio.sleep(0.01)
    await database.aclose()


async def test_a_full_disk_is_only_away(tmp_path: Path) -> None:
    """Somebody will make room."""
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/a.db")

    async def write_too_much() -> None:
        async with database.migrating() as connection:
            await connection.execute(text("PRAGMA max_page_count=1"))
            await connection.execute(text("CREATE TABLE much (a)"))

    with pytest.raises(DatabaseDown):
        await write_too_much()
    await database.aclose()
