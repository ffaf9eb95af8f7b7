"""The file of the audit log: whole lines, of whoever writes, wherever it is moved."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from mlops_backend.errors import AuditUnavailable
from mlops_backend.middleware.access import TABLE
from mlops_backend.middleware.audit import ACTIONS, AUDITED, action_of
from mlops_backend.principal import Principal, Scope
from mlops_backend.services.other import audit as module
from mlops_backend.services.other.audit import AuditLog, append, line_of
from mlops_backend.telemetry.redaction import know

ADMIN = Principal("administrator", "admin", frozenset({Scope.ADMIN}))
ORDINARY = Principal("tester", "settings:tester")
ENTRY = {"action": "key.create", "target": "", "request_id": "an-id", "changed": ()}


def lines_in(*files: Path) -> list[dict[str, Any]]:
    """All lines of these files."""
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


# What everybody may do with their own, and is noted of administrators.
OF_ADMINISTRATORS = {
    ("DELETE", "/api/llm/generations/<request_id>"),
    ("DELETE", "/api/llm/streams/<stream_id>"),
    ("POST", "/api/console/session"),
}


def test_each_audited_route_has_a_name() -> None:
    """And each name its route: what is new is audited by its path, and told here."""
    wanted = {
        (method, route)
        for route, methods in TABLE.items()
        for method, access in methods.items()
        if access in AUDITED and method not in {"GET", "HEAD"}
    }
    assert wanted | OF_ADMINISTRATORS == ACTIONS.keys()


def test_what_changes_nothing_is_not_audited() -> None:
    """Reading is not, but for who may not; what a key does with its own is nobody's affair."""
    for route, methods in TABLE.items():
        for method, access in methods.items():
            done = action_of(method, route, access, ADMIN, allowed=True)
            tried = action_of(method, route, access, ORDINARY, allowed=False)
            own = (method, route) in OF_ADMINISTRATORS
            assert bool(done) == (own or (access in AUDITED and method not in {"GET", "HEAD"}))
            assert bool(tried) == (access in AUDITED)
            assert action_of(method, route, access, None, allowed=True) == ""
    assert action_of("POST", "/api/admin/new", next(iter(AUDITED)), ADMIN, allowed=True) == "POST /api/admin/new"


def test_a_file_is_its_owners_alone(tmp_path: Path) -> None:
    """It is made when the first line comes; the rights of one that is there are the operator's."""
    file, other = tmp_path / "audit.log", tmp_path / "other.log"
    other.touch(0o640)
    for each in (file, other):
        append(str(each), b'{"a":1}\n', sync=True)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (file, other)] == [0o600, 0o640]


def test_a_file_that_is_renamed_loses_no_line(tmp_path: Path) -> None:
    """Four write at once while it is renamed again and again: each line is whole, and in one of the files."""
    file, done = tmp_path / "audit.log", threading.Event()
    moved: list[Path] = []

    def write(who: int) -> None:
        for number in range(300):
            append(str(file), line_of({**ENTRY, "target": f"{who}-{number}"}, "begun"), sync=False)

    def rename() -> None:
        while not done.is_set():
            if file.exists():
                moved.append(tmp_path / f"audit.log.{len(moved)}")
                file.rename(moved[-1])

    renaming = threading.Thread(target=rename)
    writing = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for thread in (renaming, *writing):
        thread.start()
    for thread in writing:
        thread.join()
    done.set()
    renaming.join()
    targets = [line["target"] for line in lines_in(*moved, *([file] if file.exists() else []))]
    assert sorted(targets) == sorted(f"{who}-{number}" for who in range(4) for number in range(300))
    assert len(moved) > 1


def test_the_line_behind_half_a_line_is_whole(tmp_path: Path) -> None:
    """What could not be written to its end stays as it is, and is an error; nothing is glued to it."""
    file = tmp_path / "audit.log"
    append(str(file), b'{"a":1}\n', sync=True)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12, limits[1]))
    try:
        with pytest.raises(OSError, match="No space left"):
            append(str(file), b'{"b":2}\n', sync=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    append(str(file), b'{"c":3}\n', sync=True)
    assert file.read_text() == '{"a":1}\n{"b"\n{"c":3}\n'


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "nowhere"])
async def test_what_cannot_be_written_is_an_error(tmp_path: Path, kind: str) -> None:
    """At once, also where nobody reads a pipe; nothing that others made is written to or waited for."""
    path = tmp_path / "audit.log"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/full")
    else:
        path = path / "audit.log"
    audit = AuditLog(str(path))
    async with asyncio.timeout(20):
        with pytest.raises(AuditUnavailable):
            await audit.begin(ENTRY)
        await audit.aclose()


async def test_a_disk_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For longer than a clock says: then the action is refused."""
    goes_on = threading.Event()
    monkeypatch.setattr(module, "_WITHIN", 0.05)
    monkeypatch.setattr(module, "append", lambda *_, sync: goes_on.wait(20))
    audit = AuditLog(str(tmp_path / "audit.log"))
    with pytest.raises(AuditUnavailable):
        await audit.begin(ENTRY)
    goes_on.set()
    await audit.aclose()


async def test_an_end_that_cannot_be_written_is_in_the_ordinary_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was done is told somewhere: also when it comes after the end."""
    from mlops_backend.telemetry.logging import configure_logging
    from tests.settings import settings_for

    configure_logging(settings_for(log_level="CRITICAL"))
    audit = AuditLog(str(tmp_path))
    audit.end({**ENTRY, "outcome": "done"})
    await audit.aclose()
    audit.end({**ENTRY, "outcome": "error"})
    await audit.aclose()
    configure_logging(settings_for())
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["event"], line["stage"], line["outcome"]) for line in told] == [
        ("audit", "ended", "done"),
        ("audit", "ended", "error"),
    ]


async def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs fills no memory."""
    goes_on = threading.Event()
    monkeypatch.setattr(module, "_MOST_WAITING", 3)
    monkeypatch.setattr(module, "append", lambda *_, sync: goes_on.wait(20))
    audit = AuditLog(str(tmp_path / "audit.log"))
    for _ in range(10):
        audit.end(ENTRY)
    assert audit._waiting == 3
    with pytest.raises(AuditUnavailable):
        await audit.begin(ENTRY)
    goes_on.set()
    await audit.aclose()
    assert audit._waiting == 0


def test_no_secret_is_in_a_line() -> None:
    """Wherever it came from."""
    know(["a-secret-of-ours"])
    line = line_of({**ENTRY, "target": "a-secret-of-ours", "principal": "mlb_abcdefgh"}, "begun").decode()
    assert "secret" not in line
    assert "abcdefgh" not in line
    assert json.loads(line)["target"] == "***"
