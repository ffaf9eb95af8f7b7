"""What the engine is made of, and what is said when it cannot be loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_backend.config import environment_with_libraries
from mlops_backend.services.llm.embedded.files import INSTALL_COMMAND, openmp_runtime
from mlops_backend.services.llm.embedded.process import _why


@pytest.mark.skipif(sys.platform != "linux", reason="the engine's wheels need no OpenMP runtime elsewhere")
def test_the_runtime_comes_with_a_package() -> None:
    """A package brings the OpenMP runtime, and it lies where the lock puts it."""
    found = openmp_runtime()
    assert found is not None
    assert found.read_bytes().startswith(b"\x7fELF")


def test_without_the_package_the_systems_runtime_is_left() -> None:
    """Where no package has one, nothing is put in the system's way."""
    assert openmp_runtime("a_package_that_is_not_there") is None


def test_an_operators_libraries_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What LD_LIBRARY_PATH names already is looked at before our folder; the rest of the environment stays."""
    monkeypatch.setenv("LD_LIBRARY_PATH", "/theirs")
    found = environment_with_libraries(Path("/ours"))
    assert found == {**os.environ, "LD_LIBRARY_PATH": "/theirs:/ours"}
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert environment_with_libraries(Path("/ours"))["LD_LIBRARY_PATH"] == "/ours"


def test_a_missing_library_is_one_sentence() -> None:
    """A library that the system lacks is named, with the command that brings it; no stack trace is in the sentence."""
    missing = "ImportError: libgomp.so.1: cannot open shared object file: No such file or directory"
    told = _why(1, ["Traceback (most recent call last):", "import xllamacpp", missing])
    assert told == (
        f"The embedded engine needs the library libgomp.so.1, which is not there; install it with: {INSTALL_COMMAND}"
    )


@pytest.mark.parametrize(
    ("lines", "reason"), [(["Traceback", "ValueError: no"], "ValueError: no"), ([], "it gave no reason")]
)
def test_another_end_is_told_by_its_last_line(lines: list[str], reason: str) -> None:
    """Of what the engine printed the sentence has the last line."""
    assert _why(3, lines) == f"The embedded engine ended with status 3 while starting: {reason}"


def test_it_is_imported_where_there_is_no_working_directory(tmp_path: Path) -> None:
    """A service whose working directory was removed, as by a deployment, imports the engine all the same."""
    folder = tmp_path / "gone"
    folder.mkdir()
    script = "import os, sys; os.rmdir(os.getcwd()); import mlops_backend.services.llm.embedded"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
