"""Compile the dependency locks, and tell without resolving whether they still match their inputs."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INPUT = "pyproject.toml"

# Quarantine: a release younger than a week when this date was set is not looked at, since most
# poisoned packages are found within days. Move it by hand, then `make lock ARGS=--upgrade`.
CUTOFF = "2026-11-16T00:00:00Z"
OPTIONS = (
    "--universal",
    "--generate-hashes",
    "--python-version=3.11",
    f"--exclude-newer={CUTOFF}",
    "--annotation-style=line",
    "--no-header",
    "--no-emit-index-url",
    "--no-emit-find-links",
)
STAMP = "# input-sha256: "
NOTE = f"# Compiled by `make lock` from {INPUT}; not edited by hand.\n"


@dataclass(frozen=True)
class Lock:
    """One lock: the lists it is compiled from, and what uv is told about them."""

    name: str
    lists: tuple[str, ...]
    arguments: tuple[str, ...]
    constraints: tuple[str, ...] = ()


LOCKS = (
    Lock("requirements.txt", ("dependencies",), (INPUT,)),
    Lock(
        "requirements-tracing.txt",
        ("tracing",),
        ("--group=tracing", "--constraint=requirements.txt"),
        ("requirements.txt",),
    ),
    Lock(
        "requirements-dev.txt",
        ("dependencies", "tracing", "dev"),
        (
            *(INPUT, "--group=tracing", "--group=dev"),
            *("--constraint=requirements.txt", "--constraint=requirements-tracing.txt"),
        ),
        ("requirements.txt", "requirements-tracing.txt"),
    ),
    Lock(
        "requirements-mutate.txt",
        ("mutate",),
        ("--group=mutate", "--constraint=requirements-dev.txt"),
        ("requirements-dev.txt",),
    ),
    Lock(
        "requirements-supply.txt",
        ("supply",),
        ("--group=supply", "--constraint=requirements-dev.txt"),
        ("requirements-dev.txt",),
    ),
    Lock(
        "requirements-npm.txt",
        ("npm",),
        ("--group=npm", "--constraint=requirements-dev.txt"),
        ("requirements-dev.txt",),
    ),
    Lock("requirements-embedded.txt", ("embedded",), ("--group=embedded", "--no-deps")),
)


def pins(text: str) -> dict[str, str]:
    """Return the version of each package that a lock names."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.MULTILINE))


def digest(lock: Lock, root: Path) -> str:
    """Hash everything that decides what the lock holds: lists, Python versions, options, constraint."""
    project = tomllib.loads((root / INPUT).read_text("utf-8"))
    available = {"dependencies": project["project"]["dependencies"], **project["dependency-groups"]}
    inputs = {
        "lists": {name: sorted(normalised(item) for item in available[name]) for name in lock.lists},
        "python": normalised(project["project"]["requires-python"]),
        "options": [*OPTIONS, *lock.arguments],
        "constraint": {name: pin for path in lock.constraints for name, pin in pins(text_of(root / path)).items()},
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def text_of(path: Path) -> str:
    """Read a file."""
    return path.read_text("utf-8")


def normalised(requirement: str) -> str:
    """Drop what does not change a requirement's meaning: white space, case, the kind of quote."""
    return re.sub(r"\s+", "", requirement).lower().replace("'", '"')


def stale(root: Path = ROOT) -> list[str]:
    """Name the locks that were compiled from other inputs than today's."""
    return [lock.name for lock in LOCKS if not is_fresh(lock, root)]


def is_fresh(lock: Lock, root: Path) -> bool:
    """Compare the hash in the lock's first line with the hash of its inputs."""
    path = root / lock.name
    if not all((root / name).exists() for name in (lock.name, *lock.constraints)):
        return False
    with path.open(encoding="utf-8") as lines:
        return lines.readline().strip() == STAMP + digest(lock, root)


def compile_all(root: Path = ROOT, *, upgrade: bool = False) -> None:
    """Compile every lock beside a copy of pyproject.toml; replace the old ones when all succeeded."""
    with tempfile.TemporaryDirectory() as scratch:
        bench = Path(scratch)
        shutil.copy(root / INPUT, bench)
        for lock in LOCKS:
            if (root / lock.name).exists():
                shutil.copy(root / lock.name, bench)
        for lock in LOCKS:
            compile_one(lock, bench, upgrade=upgrade)
        for lock in LOCKS:
            shutil.copyfile(bench / lock.name, root / lock.name)


def compile_one(lock: Lock, bench: Path, *, upgrade: bool) -> None:
    """Run uv in the copy, so that no path of this machine can reach the lock; then put the stamp on top."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", *OPTIONS, *lock.arguments]
    if upgrade:
        command.append("--upgrade")
    subprocess.run([*command, f"--output-file={lock.name}"], cwd=bench, check=True)
    path = bench / lock.name
    path.write_text(f"{STAMP}{digest(lock, bench)}\n{NOTE}{path.read_text('utf-8')}", "utf-8")


def report(root: Path = ROOT) -> int:
    """Print which locks are stale and how to refresh them; return the exit status."""
    names = stale(root)
    for name in names:
        print(f"{name} is stale: it was not compiled from today's {INPUT} and scripts/locks.py.")
    if names:
        print("Refresh the locks with: make lock")
    return 1 if names else 0


def main() -> int:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    lock = commands.add_parser("lock", help="compile all locks again, keeping the versions that still fit")
    lock.add_argument("--upgrade", action="store_true", help="take the newest versions before the cut-off")
    commands.add_parser("check", help="compare hashes only; status 1 if a lock is stale")
    arguments = parser.parse_args()
    if arguments.command == "check":
        return report()
    try:
        compile_all(upgrade=arguments.upgrade)
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    return 0


if __name__ == "__main__":
    sys.exit(main())
