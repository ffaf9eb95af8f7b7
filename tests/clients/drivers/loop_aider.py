"""aider, which offers no tools: the model names a file and what is to stand in it, and aider writes it."""

import os
import subprocess
from pathlib import Path

from loop_steps import KEY, MODEL, TASK, URL, loop

NOTE = Path("note.txt")
COMMAND = (
    "aider",
    "--model",
    f"ollama_chat/{MODEL}",
    "--edit-format=whole",
    "--no-git",
    "--yes-always",
    "--no-check-update",
    "--no-analytics",
    "--no-show-model-warnings",
    "--no-show-release-notes",
    "--no-detect-urls",
    "--map-tokens=0",
    f"--message={TASK}",
    str(NOTE),
)


def looped(option):
    NOTE.write_text("Nothing.\n")
    told = {"OLLAMA_API_BASE": URL, "OLLAMA_API_KEY": KEY}
    done = subprocess.run(
        [*COMMAND, option], env=os.environ | told, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr)[-900:])
    return NOTE.read_text().removesuffix("\n")


loop(whole=lambda: looped("--no-stream"), streamed=lambda: looped("--stream"))
