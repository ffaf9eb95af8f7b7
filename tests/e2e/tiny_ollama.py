"""A real Ollama with a model that says the same words whatever it is asked, and loads at once."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.processes import answers, clean_environment, free_port, wait_until
from tests.e2e.real_ollama import ollama_or_skip, start_ollama
from tests.fakes.tiny_gguf import write_model

MODEL: Final = "tiny"
# Marks, breaks and signs that a relay which reads or rewrites its lines would change.
WORDS: Final = ("The", "sky", "is", "<&>", "naïve", "\u2028", "a\u0085b", "😀", '"so"', "it", "ends.")
SENTENCE: Final = " " + " ".join(WORDS)
# One thread: Ollama's spin while they wait for each other, which a busy machine pays for dearly. One parameter: Ollama
# shows several in an order that changes.
MODELFILE: Final = """FROM {weights}
TEMPLATE \"\"\"{{{{ .System }}}} {{{{ .Prompt }}}}\"\"\"
PARAMETER num_thread 1
"""


@dataclass(frozen=True)
class TinyOllama:
    """A running server.

    Attributes:
        url: its address.
        folder: where its models, its log and the weights `tiny.gguf` are.
        environment: what its commands need.
    """

    url: str
    folder: Path
    environment: Mapping[str, str]

    def command(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Ollama's command line, against this server unless `OLLAMA_HOST` is another; it has a minute."""
        return subprocess.run(
            [ollama_or_skip(), *arguments],
            cwd=self.folder,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    def forget_blob(self, digest: str) -> None:
        """Take an uploaded blob away; Ollama has no route for that."""
        (self.folder / "models" / "blobs" / digest.replace(":", "-")).unlink(missing_ok=True)

    def make_old(self, model: str) -> None:
        """Let a model be an hour old: those of one second are listed in an order that changes."""
        (manifest,) = (self.folder / "models" / "manifests").glob(f"*/*/{model}/latest")
        os.utime(manifest, (time.time() - 3600,) * 2)


@contextmanager
def tiny_ollama(folder: Path) -> Iterator[TinyOllama]:
    """An Ollama with the tiny model, and nothing else, until the block ends."""
    address = f"127.0.0.1:{free_port()}"
    environment = clean_environment(
        OLLAMA_HOST=address,
        OLLAMA_MODELS=str(folder / "models"),
        OLLAMA_NUM_PARALLEL="1",
        OLLAMA_CONTEXT_LENGTH="256",
    )
    write_model(folder / "tiny.gguf", WORDS)
    (folder / "Modelfile").write_text(MODELFILE.format(weights=folder / "tiny.gguf"), "utf-8")
    server = start_ollama(folder, environment)
    ollama = TinyOllama(f"http://{address}", folder, environment)
    try:
        wait_until(lambda: answers(f"{ollama.url}/api/version"), 20, (folder / "log").read_text)
        created = ollama.command("create", MODEL, "-f", "Modelfile")
        assert created.returncode == 0, created.stderr
        ollama.make_old(MODEL)
        yield ollama
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=20)
