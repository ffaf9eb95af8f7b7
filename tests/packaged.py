"""Programs out of packages, kept in a cache: what a test runs, but the environment does not import.

The cache is `$XDG_CACHE_HOME/mlops_backend`, else `~/.cache/mlops_backend`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

LONGEST: Final = 300.0


def packaged(name: str, lock: Path, take: Callable[[Path, Path], None], options: Sequence[str] = ()) -> Path | str:
    """A folder with what `take` took of the wheels that `lock` names, or a sentence: why there is none.

    Args:
        name: of the folder in the cache; with the version in it.
        lock: requirements with hashes.
        take: is given a folder of wheels, and the folder to fill.
        options: more for `pip download`, such as another Python's tags.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops_backend"
    base.mkdir(parents=True, exist_ok=True)
    with (base / f"{name}.lock").open("w") as claim:
        fcntl.flock(claim, fcntl.LOCK_EX)
        if (base / name).is_dir():
            return base / name
        with tempfile.TemporaryDirectory(dir=base) as scratch:
            wheels, made = Path(scratch, "wheels"), Path(scratch, "made")
            made.mkdir()
            fixed = ("--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir")
            command = [sys.executable, "-m", "pip", "download", *fixed, *options, "-d", str(wheels), "-r", str(lock)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST)
            except subprocess.TimeoutExpired:
                return f"{name} did not come from the package index within {LONGEST:.0f} s"
            if done.returncode:
                return f"{name} cannot be had from the package index: {done.stderr.strip().rpartition(chr(10))[2]}"
            take(wheels, made)
            shutil.move(made, base / name)
    return base / name
