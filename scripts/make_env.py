"""Make or refresh a virtual environment from the locks, write .env, find interpreters: the Makefile's hands.

Only the standard library, for it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import importlib.util
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

NEWEST_TESTED = (3, 14)
ROOT = Path(__file__).resolve().parent.parent
CONSOLE_LIBRARIES = ROOT / "scripts" / "console_libraries.py"
PIP_OPTIONS = ("--disable-pip-version-check", "--no-input", "--require-hashes")
# What the optional packages require is not used, and building them from source would take minutes.
OPTIONAL_OPTIONS = ("--no-deps", "--only-binary=:all:")


class SetupError(Exception):
    """The environment cannot be made; the message is one sentence for whoever typed make."""


class Environment:
    """A virtual environment that remembers what it was made from.

    Beside its packages it keeps a copy of each lock it was given and the identity of its interpreter:
    while those equal today's there is nothing to do.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.stamps = folder / ".locks"

    def ensure(self, locks: Sequence[Path], optional: Sequence[Path], *, console: bool = False) -> None:
        """Make the environment unless this interpreter made it already, then bring every lock up to date."""
        self.create_if_needed()
        with self.console_libraries() if console else contextlib.nullcontext():
            for lock in locks:
                if self.stale(lock):
                    self.install(lock)
            for lock in optional:
                if self.stale(lock):
                    self.install_optional(lock)

    @contextlib.contextmanager
    def console_libraries(self) -> Iterator[None]:
        """Get the console's libraries beside what the block does; both wait for the network most of the time."""
        beside = subprocess.Popen([str(self.python), str(CONSOLE_LIBRARIES), str(self.folder)])
        try:
            yield
        finally:
            beside.wait()

    def create_if_needed(self) -> None:
        """Build the environment anew unless it was made by this very interpreter."""
        stamp = self.stamps / "python"
        if self.python.exists() and read(stamp) == interpreter_identity():
            return
        if missing := missing_module():
            raise SetupError(missing)
        say(f"Creating {self.folder} with Python {sys.version.split()[0]}")
        if sys.version_info[:2] > NEWEST_TESTED:
            say("Warning: this service is tested with Python up to {}.{} only.".format(*NEWEST_TESTED))
        run_quietly([sys.executable, "-m", "venv", "--clear", str(self.folder)])
        self.stamps.mkdir()
        (self.folder / ".gitignore").write_text("*\n", "utf-8")
        stamp.write_text(interpreter_identity(), "utf-8")

    def stale(self, lock: Path) -> bool:
        """Tell whether this lock is not what was last installed."""
        return read(self.stamps / lock.name) != lock.read_text("utf-8")

    def install(self, lock: Path, *options: str) -> None:
        """Install a lock, and remove what its former version brought and no lock names any more."""
        say(f"Installing {lock.name}")
        stamp = self.stamps / lock.name
        former = names(read(stamp))
        if former:
            # An interrupted refresh must not look like a finished one when the old lock comes back.
            stamp.write_text(read(stamp) + "# being replaced\n", "utf-8")
        run_quietly(self.pip_install(lock, *options))
        leftovers = former - names(lock.read_text("utf-8")) - self.named_elsewhere(lock)
        if leftovers:
            run_quietly([str(self.python), "-m", "pip", "uninstall", "--quiet", "--yes", *sorted(leftovers)])
        shutil.copyfile(lock, stamp)

    def install_optional(self, lock: Path) -> None:
        """Install a lock that not every platform can have; say what is lost where it cannot."""
        try:
            self.install(lock, *OPTIONAL_OPTIONS)
        except SetupError as error:
            say(f"{error}\nWarning: {lock.name} could not be installed, so there is no embedded engine:")
            say("the service needs an Ollama (OLLAMA_BASE_URL). To try again:")
            say("  " + " ".join(self.pip_install(lock, *OPTIONAL_OPTIONS)))

    def pip_install(self, lock: Path, *options: str) -> list[str]:
        """Return the command that installs a lock, as a person could type it: pip's, or uv's where `UV` names that."""
        if uv := os.environ.get("UV"):
            target = ("--python", str(self.python), "--require-hashes")
            return [uv, "pip", "install", "--quiet", *target, *options, "-r", str(lock)]
        return [str(self.python), "-m", "pip", "install", "--quiet", *PIP_OPTIONS, *options, "-r", str(lock)]

    def named_elsewhere(self, lock: Path) -> set[str]:
        """Collect the packages of the other locks in this environment."""
        others = (path for path in self.stamps.glob("*.txt") if path.name != lock.name)
        return {name for path in others for name in names(read(path))}


def interpreter_identity() -> str:
    """Tell interpreters apart; the same from inside an environment as from outside it."""
    return f"{sys.version}\n{sys.base_prefix}\n"


def missing_module() -> str:
    """Say which package brings what this Python lacks for making environments; empty if nothing."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            return (
                f"Python {version} ({sys.executable}) cannot make virtual environments, because its module "
                f"{module} is missing; on Debian or Ubuntu: sudo apt install python{version}-venv"
            )
    return ""


def names(lock: str) -> set[str]:
    """Return the packages that a lock names."""
    return set(re.findall(r"^([\w.-]+)==", lock, re.MULTILINE))


def read(path: Path) -> str:
    """Return a file's text, empty if there is no such file."""
    return path.read_text("utf-8") if path.exists() else ""


def say(line: str) -> None:
    """Print at once: pip's own output, if it comes, must not overtake."""
    print(line, flush=True)


def run_quietly(command: Sequence[str]) -> None:
    """Run a command; show what it printed only if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise SetupError(f"{done.stdout.rstrip()}\nFailed with status {done.returncode}: {' '.join(command)}")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let one process at a time change environments of this checkout; a second make waits here."""
    descriptor = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_dotenv(example: Path, target: Path) -> bool:
    """Write .env from the example with a fresh random key, for its owner's eyes; never over an old one."""
    key = f"API_KEY={secrets.token_urlsafe(32)}"
    text, replaced = re.subn("^API_KEY=.*$", key, example.read_text("utf-8"), flags=re.MULTILINE)
    if replaced != 1:
        raise SetupError(f"{example} must have exactly one line API_KEY=…")
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    say(f"Wrote {target.name} with a fresh API_KEY")
    return True


def find_python(version: str) -> str | None:
    """Find an interpreter of one minor version that runs: on PATH, else among pyenv's."""
    candidates = [f"python{version}", "python3", "python", *pyenv_pythons(version)]
    return next((path for candidate in candidates if (path := runs(candidate, version))), None)


def pyenv_pythons(version: str) -> list[str]:
    """List pyenv's interpreters of a version: its shims on PATH fail for all that are not selected."""
    if shutil.which("pyenv") is None:
        return []
    root = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=False).stdout.strip()
    return sorted(str(path) for path in Path(root).glob(f"versions/{version}.*/bin/python")) if root else []


def runs(candidate: str, version: str) -> str | None:
    """Return the interpreter's own path if the candidate can be run and has that version."""
    code = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
    try:
        done = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return None
    found, _, path = done.stdout.strip().partition(" ")
    return path if done.returncode == 0 and found == version else None


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    install = commands.add_parser("install", help="make or refresh an environment")
    install.add_argument("folder", type=Path)
    install.add_argument("locks", nargs="+", type=Path)
    install.add_argument("--optional", action="append", default=[], type=Path, metavar="LOCK")
    install.add_argument("--console", action="store_true", help="the console's libraries too")
    commands.add_parser("dotenv", help="write .env if there is none")
    find = commands.add_parser("find", help="print the path of an interpreter of this minor version")
    find.add_argument("version")
    return parser.parse_args(arguments)


def run_command(arguments: argparse.Namespace) -> int:
    """Do what the command line asks; return the exit status."""
    if arguments.command == "dotenv":
        write_dotenv(ROOT / ".env.example", ROOT / ".env")
        return 0
    if arguments.command == "find":
        found = find_python(arguments.version)
        print(found or "", end="")
        return 0 if found else 1
    with alone():
        Environment(arguments.folder).ensure(arguments.locks, arguments.optional, console=arguments.console)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a failure is told without a traceback."""
    try:
        return run_command(parse(arguments))
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
