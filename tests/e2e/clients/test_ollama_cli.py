"""The real `ollama` command line, which knows no key, works with one in the address."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from subprocess import CompletedProcess
from typing import Final

import pytest
import pytest_asyncio

from tests.e2e.processes import free_port
from tests.e2e.server_process import KEY, ServerProcess, running, serving_process
from tests.e2e.test_entry_points import CONFIGURED, until_it_answers
from tests.e2e.tiny_ollama import MODEL, SENTENCE, TinyOllama, tiny_ollama

ORDINARY: Final = "ordinary-key-of-the-command-line"
WRONG: Final = "wrong-key-of-the-command-line"
FORBIDDEN: Final = "This route needs a key with the scope models:write."
NOBODY: Final = "127.0.0.1:1/library/nope"
_KEYS: Final = {"API_KEYS": f"tester:{ORDINARY}", "KEY_IN_URL": "true"}
_TERMINAL: Final = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class CommandLine:
    """`ollama` against the service, which is a process of its own before a real Ollama."""

    ollama: TinyOllama
    service: ServerProcess

    async def run(self, *arguments: str, key: str = KEY, url: str = "") -> CompletedProcess[str]:
        """Run a command with a key in the address."""
        host = f"{url or self.service.url}/k/{key}"
        return await asyncio.to_thread(self.ollama.command, *arguments, OLLAMA_HOST=host)

    async def done(self, *arguments: str, key: str = KEY) -> str:
        """Run a command that must succeed; gives what it printed."""
        ended = await self.run(*arguments, key=key)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    async def failed(self, *arguments: str, key: str = KEY) -> str:
        """Run a command that must fail; gives its complaint."""
        ended = await self.run(*arguments, key=key)
        assert ended.returncode == 1, ended.stdout
        return _TERMINAL.sub("", ended.stderr)


@pytest.fixture(name="ollama", scope="module")
def _ollama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyOllama]:
    with tiny_ollama(tmp_path_factory.mktemp("ollama")) as running_ollama:
        yield running_ollama


@pytest_asyncio.fixture(name="line", scope="module", loop_scope="module")
async def _line(ollama: TinyOllama, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CommandLine]:
    folder = tmp_path_factory.mktemp("service")
    async with serving_process(folder, ollama.url, **_KEYS) as service:
        yield CommandLine(ollama, service)


@pytest.mark.parametrize("key", [KEY, ORDINARY])
async def test_reading_and_running_work_with_any_key(line: CommandLine, key: str) -> None:
    """`list`, `show`, `run`, `ps` and `stop` do with any key what they do without the service."""
    names = [row.split()[0] for row in (await line.done("list", key=key)).splitlines()]
    assert names[0] == "NAME"
    assert f"{MODEL}:latest" in names
    assert "FROM" in await line.done("show", MODEL, "--modelfile", key=key)
    assert re.search(r"architecture +llama", await line.done("show", MODEL, key=key))
    assert (await line.done("run", MODEL, "Why?", key=key)).strip() == SENTENCE.strip()
    assert MODEL in await line.done("ps", key=key)
    await line.done("stop", MODEL, key=key)
    assert MODEL not in await line.done("ps", key=key)


async def test_version_is_that_of_the_server(line: CommandLine) -> None:
    """`--version` asks the server, through the service, and warns of nothing."""
    printed = await line.done("--version", key=ORDINARY)
    assert re.fullmatch(r"ollama version is \d+\.\d+\.\d+\S*\n", printed)


async def test_a_model_is_made_copied_and_removed(line: CommandLine) -> None:
    """With the administrator's key weights are uploaded and made a model, which runs, is copied and removed."""
    (line.ollama.folder / "weights.gguf").write_bytes((line.ollama.folder / "tiny.gguf").read_bytes() + b"\0")
    (line.ollama.folder / "Mine").write_text("FROM ./weights.gguf\nPARAMETER num_thread 1\n", "utf-8")
    created = await line.run("create", "mine", "-f", "Mine")
    assert created.returncode == 0, created.stderr
    assert "success" in created.stderr
    assert (await line.done("run", "mine", "Why?")).strip() == SENTENCE.strip()
    assert "copied 'mine' to 'yours'" in await line.done("cp", "mine", "yours")
    assert "yours:latest" in await line.done("list")
    assert "deleted 'yours'" in await line.done("rm", "yours")
    assert "yours" not in await line.done("list")
    await line.done("rm", "mine")


async def test_a_failed_download_says_why(line: CommandLine) -> None:
    """What Ollama says in its stream of a registry that cannot be reached reaches the user."""
    complaint = await line.failed("pull", NOBODY)
    assert "pull model manifest" in complaint
    assert "connection refused" in complaint


async def test_an_unknown_model_is_named(line: CommandLine) -> None:
    """Ollama's own sentence about a model that it does not have reaches the user."""
    assert "nope" in await line.failed("show", "nope", key=ORDINARY)
    assert "nope" in await line.failed("rm", "nope")


async def test_ordinary_key_manages_nothing(line: CommandLine) -> None:
    """With an ordinary key nothing is made, copied, removed, pulled or pushed, and the user reads why."""
    (line.ollama.folder / "Other").write_text(f"FROM {MODEL}\nSYSTEM Be brief.\n", "utf-8")
    commands = (
        ("create", "other", "-f", "Other"),
        ("create", "other", "-f", "Modelfile"),
        ("cp", MODEL, "other"),
        ("rm", MODEL),
        ("pull", NOBODY),
        ("push", MODEL),
    )
    for command in commands:
        assert FORBIDDEN in await line.failed(*command, key=ORDINARY), command
    assert "other" not in await line.done("list")


@pytest.mark.parametrize("command", ["list", "ps", "show", "run", "rm", "pull"])
async def test_wrong_key_does_nothing(line: CommandLine, command: str) -> None:
    """With a wrong key every command fails."""
    arguments = [] if command in {"list", "ps"} else [MODEL, "Why?"][: 2 if command == "run" else 1]
    assert await line.failed(command, *arguments, key=WRONG)
    assert MODEL in await line.done("list")


async def test_keys_are_in_no_log(line: CommandLine) -> None:
    """No key, right or wrong, is in anything that the service prints."""
    for key in (KEY, ORDINARY, WRONG):
        await line.run("list", key=key)
        await line.run("show", "nope", key=key)
    await line.service.printed(r'"route": ?"/api/show"')
    printed = line.service.output + line.service.errors
    assert not [key for key in (KEY, ORDINARY, WRONG) if key in printed]


async def test_keys_are_not_in_hypercorns_access_log(ollama: TinyOllama, line: CommandLine) -> None:
    """Hypercorn's own access log, if somebody switches it on, has the paths without the keys."""
    port = str(free_port())
    settings = {"HOST": "127.0.0.1", "PORT": port, "API_KEY": KEY, "OLLAMA_BASE_URL": ollama.url, **_KEYS}
    command = (*CONFIGURED, "--access-logfile", "-")
    async with running(ollama.folder, command, {**settings, "EMBEDDED_ENGINE": "off"}) as service:
        await until_it_answers(f"http://127.0.0.1:{port}")
        for key, status in ((KEY, 0), (ORDINARY, 0), (WRONG, 1)):
            ended = await line.run("list", key=key, url=f"http://127.0.0.1:{port}")
            assert ended.returncode == status, ended.stderr
        await service.printed(r"GET /api/tags[^\n]* 401")
        printed = service.output + service.errors
        assert re.search(r"GET /api/tags[^\n]* 200", printed)
        assert not [key for key in (KEY, ORDINARY, WRONG) if key in printed]
