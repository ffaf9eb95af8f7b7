"""Python environments of real servers: made once, outside the repository, and kept between runs."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# A build of PyTorch is large, and llama.cpp is compiled.
LONGEST: Final = 1800.0
_DONE: Final = "installed"


def cache() -> Path:
    """Where environments are kept: a folder that `make clean` leaves alone."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops_backend" / "servers"
    base.mkdir(parents=True, exist_ok=True)
    return base


def environment(name: str, requirements: Sequence[str], without: Sequence[str] = ()) -> Path | str:
    """The folder of an environment with these packages, or a sentence: why there is none.

    Args:
        name: of the folder; with the version in it.
        requirements: pinned.
        without: packages that they bring and that are taken out again.
    """
    folder = cache() / name
    with (cache() / f"{name}.lock").open("w") as claim:
        fcntl.flock(claim, fcntl.LOCK_EX)
        told = folder / _DONE
        if told.is_file() and told.read_text("utf-8") == "\n".join(requirements):
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        if why := _install(folder, requirements, without):
            shutil.rmtree(folder, ignore_errors=True)
            return f"{' '.join(requirements)} cannot be installed: {why}"
        told.write_text("\n".join(requirements), "utf-8")
    return folder


def _install(folder: Path, requirements: Sequence[str], without: Sequence[str]) -> str:
    """Nothing, or why not."""
    pip = [str(folder / "bin" / "python"), "-m", "pip"]
    commands = [
        [sys.executable, "-m", "venv", str(folder)],
        [*pip, "install", "--quiet", "--no-cache-dir", *requirements],
        *([[*pip, "uninstall", "--quiet", "--yes", *without]] if without else []),
    ]
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST)
        except subprocess.TimeoutExpired:
            return f"not within {LONGEST:.0f} s"
        if done.returncode:
            return _last_line(done.stderr) or _last_line(done.stdout)
    return ""


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith("ERROR")] or text.strip().splitlines()
    return lines[-1][:300] if lines else ""
