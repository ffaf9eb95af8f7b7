"""One environment for each client, made of pinned packages once and kept outside the repository.

It is in `$XDG_CACHE_HOME/mlops_backend/clients`, else `~/.cache/mlops_backend/clients`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.newcomer import node_program
from tests.e2e.processes import clean_environment

LONGEST: Final = 1500.0
# What the package indexes' own programs are told by the machine: certificates, proxies, where the indexes are.
CERTIFICATES: Final = ("NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR")
_FINISHED: Final = "finished"


@dataclass(frozen=True)
class Packages:
    """Pinned packages of one index, that go together: `ollama==0.6.3` of PyPI, or `ollama@0.6.4` of npm.

    Attributes:
        pins: the packages; the first gives the version.
        by_uv: whether uv chooses what they need, since pip takes many minutes for it.
        python: the Python that they ask for, if it is not the one of the tests; uv finds it, or fetches it.
    """

    pins: tuple[str, ...]
    by_uv: bool = False
    python: str = ""

    @property
    def of_npm(self) -> bool:
        """Whether they are npm's."""
        return "==" not in self.pins[0]

    @property
    def version(self) -> str:
        """The version of the first."""
        return re.split(r"==|@(?=\d)", self.pins[0])[1]

    def version_of(self, name: str) -> str:
        """The version of one of them, or nothing."""
        return dict(re.split(r"==|@(?=\d)", pin, maxsplit=1) for pin in self.pins).get(name, "")

    @property
    def folder(self) -> Path:
        """Where they are, or will be: other pins are another folder."""
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops_backend" / "clients"
        name = re.sub(r"[^\w.]+", "-", self.pins[0]).strip("-")
        return base / f"{name}-{hashlib.sha256(' '.join(self.pins).encode()).hexdigest()[:8]}"


def installed(packages: Packages) -> Path | str:
    """The folder with the packages, or a sentence: why they cannot be had."""
    folder = packages.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as claim:
        fcntl.flock(claim, fcntl.LOCK_EX)
        if (folder / _FINISHED).exists():
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for command in _commands(packages, folder):
            if reason := _failure(command, folder):
                return f"{packages.pins[0]} cannot be installed: {reason}"
        (folder / _FINISHED).touch()
    return folder


def _commands(packages: Packages, folder: Path) -> list[list[str]]:
    if not packages.of_npm:
        python = str(folder / "bin" / "python")
        by_pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        by_uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python]
        if packages.python:
            minor, _, _ = packages.python.rpartition(".")
            made = [sys.executable, "-m", "uv", "venv", "--quiet", "--python", minor, str(folder)]
            # What asks for 3.13.2 runs on each 3.13.
            return [made, [*by_uv, "--python-version", packages.python, *packages.pins]]
        install = by_uv if packages.by_uv else by_pip
        return [[sys.executable, "-m", "venv", str(folder)], [*install, *packages.pins]]
    node = Path(node_program())
    npm = node.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    options = ("--no-audit", "--no-fund", "--loglevel", "error", "--prefix", str(folder))
    (folder / "package.json").write_text('{"private": true, "type": "module"}\n', "utf-8")
    return [[str(node), str(npm), "install", *options, *packages.pins]]


def _failure(command: list[str], folder: Path) -> str:
    """Run a command to its end; the last line that it complains with, if it fails."""
    told = {name: os.environ[name] for name in CERTIFICATES if name in os.environ}
    path = f"{Path(node_program()).parent}:{os.environ['PATH']}"
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**clean_environment(**told), "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"not within {LONGEST:.0f} s"
    if not done.returncode:
        return ""
    lines = [
        line
        for line in done.stderr.splitlines()
        if line.strip() and not line.startswith(("WARNING", "npm error A complete"))
    ]
    errors = [line for line in lines if re.match(r"ERROR|npm error", line)]
    return (errors or lines or [f"status {done.returncode}"])[0].strip()
