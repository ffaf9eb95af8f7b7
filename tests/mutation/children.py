"""Test runs in forked processes, which find the libraries imported and the product not."""

from __future__ import annotations

import contextlib
import gc
import importlib
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

FORK = multiprocessing.get_context("fork")
OURS = ("mlops_backend", "tests", "scripts", "bench", "trial")
PYTEST = (
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "--tb=short",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)
# Which of the imported libraries must not be there before pytest is: it rewrites the assertions of its plugins.
PLUGINS = ("_pytest", "pytest", "hypothesis", "_hypothesis", "schemathesis", "anyio", "xdist", "langsmith")


def import_libraries(root: Path) -> None:
    """Import what the product and its tests import, once, so that no run has to."""
    reader, writer = FORK.Pipe(duplex=False)
    child = FORK.Process(target=_tell_libraries, args=(root, writer))
    child.start()
    names: list[str] = reader.recv()
    child.join()
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _tell_libraries(root: Path, writer: object) -> None:
    _move_to(root)
    sys.dont_write_bytecode = False
    before = set(sys.modules)
    importlib.import_module("mlops_backend.app")
    importlib.import_module("tests.service")
    libraries = [
        name
        for name in sys.modules
        if name not in before and name.partition(".")[0] not in (*OURS, *PLUGINS) and "__main__" not in name
    ]
    writer.send(libraries)  # type: ignore[attr-defined]


def run_pytest(
    root: Path,
    output: Path,
    arguments: Sequence[str],
    limit: float | None,
    around: Callable[[Callable[[Sequence[object]], int]], int] | None = None,
) -> int | None:
    """Run pytest in `root` in a process of its own; return its status, or `None` if it took too long.

    `around` is called in that process with what runs the tests, before anything of the product is imported.
    """
    folder = output.parent / "temporary"
    folder.mkdir(parents=True, exist_ok=True)
    child = FORK.Process(target=_run, args=(root, output, folder, arguments, around))
    child.start()
    child.join(limit)
    late = child.is_alive()
    if late:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid or 0, signal.SIGKILL)
        child.join()
    _end_what_is_left(folder)
    return None if late else child.exitcode


def _run(
    root: Path,
    output: Path,
    folder: Path,
    arguments: Sequence[str],
    around: Callable[[Callable[[Sequence[object]], int]], int] | None,
) -> None:
    os.setsid()
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ["TMPDIR"] = str(folder)
    # What was compiled of whole code saves half of the next run's time; of what was broken nothing is kept.
    sys.dont_write_bytecode = around is None
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    _move_to(root)

    def run(plugins: Sequence[object] = ()) -> int:
        return int(pytest.main([*PYTEST, f"--basetemp={folder / 'pytest'}", *arguments], plugins=list(plugins)))

    status = 3
    try:
        status = around(run) if around else run()
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _move_to(root: Path) -> None:
    """Import the product and the tests from another place from now on."""
    os.chdir(root)
    sys.path[0] = str(root)
    os.environ["PYTHONPATH"] = str(root)
    for name in list(sys.modules):
        if name.partition(".")[0] in OURS:
            del sys.modules[name]


def _end_what_is_left(folder: Path) -> None:
    """End servers that a killed run left behind: all were told a place in its temporary folder."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(folder) in part for part in process.cmdline()):
                process.kill()
