"""The page "Use it with a client": each program is run as it says, or what it would send is sent."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.e2e.clients.clients import Faked, Live
from tests.e2e.newcomer import Newcomer, node_program
from tests.e2e.page_blocks import read_blocks
from tests.e2e.processes import clean_environment
from tests.e2e.real_ollama import ollama_or_skip
from tests.fakes.ollama import DEFAULT_WORDS
from tests.service import ORDINARY_KEY, Service

pytestmark = pytest.mark.asyncio(loop_scope="module")
BLOCKS = read_blocks()
OVER_ENGINE = pytest.mark.parametrize("live", ["engine"], indirect=True)
OLLAMA_JS = "ollama@0.6.4"
CERTIFICATES = ("NODE_EXTRA_CA_CERTS",)
CLAUDE = """#!{python}
import os
from anthropic import Anthropic
asked = [{{"role": "user", "content": "Hi"}}]
print(Anthropic().messages.create(model=os.environ["ANTHROPIC_MODEL"], messages=asked, max_tokens=9).content[0].text)
"""


def caller_of(service: Service, home: Path) -> Newcomer:
    """Somebody with an ordinary key."""
    return Newcomer(home, ORDINARY_KEY, service.url.removeprefix("http://"))


def command(folder: Path, name: str, text: str) -> str:
    """Put a program into a folder; gives the PATH that finds it first."""
    program = folder / name
    program.write_text(text, "utf-8")
    program.chmod(0o755)
    return f"{folder}:{clean_environment()['PATH']}"


@OVER_ENGINE
@pytest.mark.parametrize(
    "name",
    [
        "ollama-python",
        "openai-python",
        "anthropic-python",
        *(pytest.param(name, marks=pytest.mark.long) for name in ("responses-python", "langchain")),
    ],
)
async def test_python(live: Live, tmp_path: Path, name: str) -> None:
    """The Python programs print the model's words."""
    caller = caller_of(live.service, tmp_path)
    assert len((await caller.python(caller.text_of(BLOCKS[name]))).split()) > 3


@OVER_ENGINE
async def test_javascript(live: Live, tmp_path: Path) -> None:
    """The JavaScript program prints the model's words."""
    caller = caller_of(live.service, tmp_path)
    await install(tmp_path, OLLAMA_JS)
    assert len((await caller.node(caller.text_of(BLOCKS["ollama-js"]))).split()) > 3


@pytest.mark.long
async def test_ollamas_command_line(live: Live, tmp_path: Path) -> None:
    """Ollama's own command prints a model's words, whatever serves the model."""
    caller = caller_of(live.service, tmp_path)
    # Small models may go on for ever: with the pipe the command ends.
    path = command(tmp_path, "ollama", f'#!/bin/sh\n{ollama_or_skip()} "$@" </dev/null | head -c 80\n')
    printed = await caller.run("sh", "-euc", caller.text_of(BLOCKS["ollama-cli"]), API_KEY=caller.key, PATH=path)
    assert printed.strip()


async def test_claude_code(faked: Faked, tmp_path: Path) -> None:
    """What reads Claude Code's variables, as Anthropic's SDK does, gets an answer from the model that they name."""
    faked.fake.models.append("qwen3-coder:latest")
    caller = caller_of(faked.service, tmp_path)
    path = command(tmp_path, "claude", CLAUDE.format(python=sys.executable))
    script = caller.text_of(BLOCKS["claude-code"])
    printed = await caller.run("sh", "-euc", script, API_KEY=caller.key, PATH=path, ANTHROPIC_API_KEY="another")
    assert printed == "".join(DEFAULT_WORDS) + "\n"
    assert faked.fake.requests[-1].json()["model"] == "qwen3-coder"


async def test_open_webui(faked: Faked) -> None:
    """The address and the key in Open WebUI's variables list the models."""
    variables = yaml.safe_load(BLOCKS["open-webui"].text)["services"]["open-webui"]["environment"]
    assert variables["ENABLE_OLLAMA_API"] == "false"
    url = variables["OPENAI_API_BASE_URL"].replace("http://host.docker.internal:8000", faked.service.url)
    key = variables["OPENAI_API_KEY"].replace("your-key", ORDINARY_KEY)
    answer = await get(f"{url}/models", key)
    assert [model["id"] for model in answer["data"]] == ["llama3:latest"]


async def test_continue(faked: Faked, tmp_path: Path) -> None:
    """The address and the key in Continue's file describe the model."""
    configured = yaml.safe_load(caller_of(faked.service, tmp_path).text_of(BLOCKS["continue"]))
    assert configured.keys() == {"name", "version", "schema", "models"}
    (model,) = configured["models"]
    faked.fake.models.append(model["model"])
    answer = await get(f"{model['apiBase']}/api/show", model["apiKey"], {"name": model["model"]})
    assert answer["details"]


async def get(url: str, key: str, body: Any = None) -> Any:
    """What a program with a key as `Bearer` is answered."""
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.request("POST" if body else "GET", url, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def install(folder: Path, package: str) -> None:
    """Install a package of npm's into a folder; skips the test where that cannot be done."""
    node = node_program()
    npm = Path(node).parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    options = ("--no-audit", "--no-fund", "--fetch-retries", "0", "--loglevel", "error")
    places = ("--prefix", str(folder), "--cache", str(folder / "npm"))
    process = await asyncio.create_subprocess_exec(
        *(node, str(npm), "install", *options, *places, package),
        env=clean_environment(**{name: os.environ[name] for name in CERTIFICATES if name in os.environ}),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            _, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        pytest.skip("npm's registry does not answer within 30 s")
    if process.returncode:
        pytest.skip(f"npm does not install {package}: {errors.decode().strip().splitlines()[0]}")
