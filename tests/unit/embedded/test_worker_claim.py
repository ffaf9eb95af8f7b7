"""Of several workers of one server, one has the engine."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from mlops_backend.services.llm.embedded import files
from mlops_backend.services.llm.embedded.files import EngineUnavailable, claim_for_this_worker


@pytest.fixture(name="worker")
def _worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process as a server's worker, with a temporary folder of its own."""
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: SimpleNamespace(pid=os.getppid()))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_alone_no_claim_is_needed() -> None:
    """A process that no server started has nobody beside it."""
    assert claim_for_this_worker() is None


def test_one_worker_has_it_until_it_gives_it_up(worker: Path) -> None:
    """Others are refused meanwhile, and nothing stays open or behind."""
    opened = psutil.Process().num_fds()
    claim = claim_for_this_worker()
    assert claim is not None
    for _ in range(2):
        with pytest.raises(EngineUnavailable, match="another one has it"):
            claim_for_this_worker()
    assert psutil.Process().num_fds() == opened + 1
    claim.release()
    assert list(worker.iterdir()) == []
    assert psutil.Process().num_fds() == opened
    again = claim_for_this_worker()
    assert again is not None
    again.release()


def test_a_folder_that_cannot_be_written_is_told(worker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says what could not be made."""
    monkeypatch.setattr(tempfile, "tempdir", str(worker / "missing"))
    with pytest.raises(EngineUnavailable, match="cannot be made"):
        claim_for_this_worker()


@pytest.mark.parametrize(("folder", "kept"), [("/short", True), ("/" + "long" * 30, False), ("relative", False)])
def test_a_sockets_path_is_one_that_sockets_take(folder: str, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is short enough and absolute, below the temporary folder if that is so, and never the same."""
    monkeypatch.setattr(tempfile, "tempdir", folder)
    paths = [files.new_socket_path() for _ in range(2)]
    assert paths[0] != paths[1]
    for path in paths:
        assert path.parent.parent == Path(folder if kept else "/tmp")
        assert len(os.fsencode(path)) <= 103
