"""Builds of the service: this one, and one before it, from a worktree and an environment of its own.

The environment is kept between runs, by the packages that the build's lock pins: builds that pin the same share it,
and one that pins what this build does runs in this one's.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import ROOT

Say = Callable[[str], None]
LOCK = "requirements.txt"
MAKER = ROOT / "scripts" / "make_env.py"


@dataclass(frozen=True)
class Build:
    """A tree of the service's source, and the interpreter that has what it needs."""

    name: str
    tree: Path
    python: str

    @property
    def command(self) -> list[str]:
        """How it is started."""
        return [self.python, "-m", "mlops_backend"]

    @property
    def path(self) -> dict[str, str]:
        """What makes the interpreter take this tree and no other."""
        return {"PYTHONPATH": str(self.tree)}

    def knows(self, setting: str) -> bool:
        """Tell whether this build has a setting; the example of all settings names each."""
        lines = (self.tree / ".env.example").read_text("utf-8").splitlines()
        return any(line.lstrip("# ").startswith(f"{setting}=") for line in lines)


def this_build() -> Build:
    """Return the tree that the benchmark is part of."""
    return _compiled(Build("now", ROOT, sys.executable))


def _compiled(build: Build) -> Build:
    """Compile a build's modules, as an image has them: a process that has to do so itself holds megabytes more."""
    command = [build.python, "-m", "compileall", "-q", str(build.tree / "mlops_backend")]
    subprocess.run(command, check=True)
    return build


@contextmanager
def build_of(revision: str, folder: Path, say: Say) -> Iterator[Build]:
    """Check a revision out into a folder, with its environment; the worktree is gone afterwards."""
    tree = folder / "before"
    _git("worktree", "add", "--quiet", "--detach", str(tree), revision)
    try:
        yield _compiled(Build("before", tree, environment_of(tree / LOCK, say)))
    finally:
        _git("worktree", "remove", "--force", str(tree))


def environment_of(lock: Path, say: Say) -> str:
    """Return the interpreter of the environment that was made from a lock, or make it."""
    pins = pinned(lock.read_text("utf-8"))
    if pins == pinned((ROOT / LOCK).read_text("utf-8")):
        return sys.executable
    folder = environments() / environment_name(pins)
    say(f"the build before runs in {folder}")
    command = [sys.executable, str(MAKER), "install", str(folder), str(lock)]
    done = subprocess.run(command, stdout=sys.stderr, check=False)
    if done.returncode:
        raise SystemExit(f"{lock} cannot be installed")
    return str(folder / "bin" / "python")


def pinned(lock: str) -> list[str]:
    """Return what a lock pins; its comments and hashes tell nothing more."""
    return sorted(re.findall(r"^([\w.\[\]-]+==[^\s\\]+)", lock, re.MULTILINE))


def environment_name(pins: Sequence[str]) -> str:
    """Return the folder's name: of this Python, and of the packages."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"{version}-{hashlib.sha256(' '.join(pins).encode()).hexdigest()[:16]}"


def environments() -> Path:
    """Return where environments are kept: a folder that `make clean` leaves alone."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops_backend" / "bench"
    base.mkdir(parents=True, exist_ok=True)
    return base


def short_name(revision: str) -> str:
    """Return what git calls a revision in few letters, or end with git's own words."""
    return _git("rev-parse", "--short", f"{revision}^{{commit}}")


def _git(*arguments: str) -> str:
    program = shutil.which("git")
    if program is None:
        raise SystemExit("git is needed for a build before this one")
    done = subprocess.run([program, "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()
