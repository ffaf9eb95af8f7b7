"""`quart --app wsgi keys …` and `… db …`: as an operator runs them, with and without a service beside them."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import Result

from mlops_backend.app import create_app
from mlops_backend.services.other.database.tables import HEAD
from tests.e2e.server_process import COMMAND, running, serving_process
from tests.fakes.ollama import FakeOllama
from tests.service import settings_for

QUART = (sys.executable, "-m", "quart", "--app", "wsgi")


class Shell:
    """Runs commands on one database."""

    def __init__(self, url: str, audit_log: str = "") -> None:
        self._app = create_app(settings_for(database_url=url, audit_log=audit_log))

    def run(self, command: str) -> Result:
        """Run a command as `quart --app wsgi COMMAND`."""
        ran: Result = self._app.test_cli_runner().invoke(args=command.split())
        return ran

    def result(self, command: str) -> str:
        """What a command that must succeed prints on standard output."""
        ran = self.run(command)
        assert ran.exit_code == 0, ran.output
        return ran.stdout

    def refusal(self, command: str) -> str:
        """The one line that a command which must fail prints on standard error."""
        ran = self.run(command)
        assert (ran.exit_code, ran.stdout) == (1, ""), ran.output
        (line,) = ran.stderr.splitlines()
        return line

    def make(self, options: str = "") -> tuple[str, str]:
        """A new key's id and secret."""
        ran = self.run(f"keys create --name one {options}")
        assert ran.exit_code == 0, ran.output
        (secret,) = ran.stdout.splitlines()
        return ran.stderr.partition(":")[0], secret


@pytest.fixture(autouse=True)
def _logs_again() -> Iterator[None]:
    """A command silences the log of its process, which is the tests' here."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def shell(database_url: str) -> Shell:
    """A shell on a fresh database of each kind."""
    return Shell(database_url)


@pytest.fixture
def newer(tmp_path: Path) -> str:
    """The address of a database that a newer version wrote."""
    file = tmp_path / "newer.db"
    Shell(f"sqlite:///{file}").make()
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    return f"sqlite:///{file}"


def test_a_key_from_its_making_to_its_end(shell: Shell) -> None:
    """A key is made as the options say, listed, shown, rotated and revoked; its secret stands alone on its line."""
    options = "--owner alice --scope inference --scope admin --model LLAMA3 --model qwen* --expires 30d"
    limits = "--limit requests=60/minute --limit tokens_per_day=9 --limit concurrent=off"
    key_id, secret = shell.make(
        f"{options} {limits} --priority batch --weight 2.5 --cache --end-user-limit requests=5/minute"
    )
    shown = json.loads(shell.result(f"keys show {key_id}"))
    assert shown["limits"] == {"requests": "60/minute", "tokens_per_day": 9, "concurrent": None}
    assert (shown["scopes"], shown["models"]) == (["admin", "inference"], ["llama3:latest", "qwen*"])
    assert (shown["owner"], shown["state"]) == ("alice", "active")
    assert (shown["priority"], shown["weight"], shown["cache"]) == ("batch", 2.5, True)
    assert shown["end_user_limits"] == {"requests": "5/minute"}
    assert shown["expires_at"] > shown["created_at"]
    head, row = shell.result("keys list").splitlines()
    assert head.split("\t") == ["id", "state", "name", "owner", "scopes", "expires_at"]
    assert row.split("\t") == [key_id, "active", "one", "alice", "admin,inference", shown["expires_at"]]
    renewed = shell.result(f"keys rotate {key_id} --overlap 1h").strip()
    assert renewed.startswith("mlb_")
    assert renewed != secret
    assert key_id in shell.result(f"keys revoke {key_id}")
    assert len(shell.result("keys list").splitlines()) == 1
    assert "revoked" in shell.result("keys list --revoked")
    assert "revoked" in shell.refusal(f"keys rotate {key_id}")


def test_mistakes_are_one_line(shell: Shell) -> None:
    """What cannot be done is told in a sentence on standard error, with status 1 and nothing on standard output."""
    assert shell.refusal("keys show key_unknown") == "There is no such key."
    for options, named in {
        "--limit requests=often": "limits.requests: ",
        "--limit speed=1": "limits.speed: ",
        "--limit requests": "limits: ",
        "--scope root": "scopes.0: ",
        "--priority urgent": "priority: ",
        "--weight 0": "weight: ",
        "--expires soon": "expires_at: ",
        "--expires 2001-01-01T00:00:00Z": "expires_at: ",
        "--expires 999999999w": "'999999999w' is too far away",
    }.items():
        assert shell.refusal(f"keys create --name one {options}").startswith(named)
    assert "60d" not in shell.refusal("keys rotate key_unknown --overlap 60d")
    assert "no time" in shell.refusal("keys rotate key_unknown --overlap soon")
    assert "too far away" in shell.refusal("keys rotate key_unknown --overlap 999999999w")


def test_the_tables_go_back_and_forth(shell: Shell) -> None:
    """`db` tells the step, takes the tables back, and brings them up to date; a key survives what keeps its table."""
    key_id, _ = shell.make()
    assert shell.result("db current") == f"{HEAD}\n"
    assert shell.result("db downgrade 0001") == "0001\n"
    assert "0009" in shell.refusal("db downgrade 0009")
    assert shell.result("db upgrade") == f"{HEAD}\n"
    assert key_id in shell.result("keys list")
    assert shell.result("db downgrade base") == shell.result("db current") == "base\n"


def test_what_commands_do_is_audited(database_url: str, tmp_path: Path) -> None:
    """Before and after, by who has the shell; what only reads is not, and without its line nothing is done."""
    file = tmp_path / "audit.log"
    shell = Shell(database_url, str(file))
    key_id, secret = shell.make("--owner alice")
    renewed = shell.result(f"keys rotate {key_id}").strip()
    shell.result("keys list")
    shell.result(f"keys revoke {key_id}")
    shell.refusal("keys revoke key_unknown")
    shell.refusal("db copy sqlite://user:a-password@nowhere/")
    shell.result("db upgrade")
    shell.result("db current")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    ended = [line for line in lines if line["stage"] == "ended"]
    assert [(line["action"], line.get("target"), line["outcome"]) for line in ended] == [
        ("key.create", key_id, "done"),
        ("key.rotate", key_id, "done"),
        ("key.revoke", key_id, "done"),
        ("key.revoke", "key_unknown", "error"),
        ("database.copy", "sqlite://***@nowhere/", "error"),
        ("database.upgrade", None, "done"),
    ]
    user = pwd.getpwuid(os.getuid()).pw_name
    assert {(line["key_id"], line["principal"]) for line in lines} == {("command", user)}
    assert len(lines) == 2 * len(ended)
    for hidden in (secret, renewed, "a-password"):
        assert hidden not in file.read_text()
    file.unlink()
    file.mkdir()
    assert "cannot be noted" in shell.refusal("keys create --name two")
    assert "two" not in shell.result("keys list --revoked")


def test_a_database_is_copied_once(shell: Shell, tmp_path: Path) -> None:
    """All goes into an empty one, whose keys then are the same; a second time, and a wrong address, is one line."""
    key_id, _ = shell.make()
    target = f"sqlite:///{tmp_path}/copies/copy.db"
    counts = dict(line.split("\t") for line in shell.result(f"db copy {target}").splitlines())
    assert (counts["api_keys"], counts["api_key_secrets"], counts["generations"]) == ("1", "1", "0")
    assert Shell(target).result(f"keys show {key_id}") == shell.result(f"keys show {key_id}")
    assert "not empty" in shell.refusal(f"db copy {target}")
    assert "postgresql://" in shell.refusal("db copy mysql://localhost/x")
    assert "database" in shell.refusal("db copy postgresql://nobody@127.0.0.1:1/none")


def test_a_database_that_cannot_be_used_is_one_line(newer: str, tmp_path: Path) -> None:
    """One that is away, or was written by a newer version, is told, and left as it is."""
    away = Shell("postgresql://nobody@127.0.0.1:1/none")
    assert "database" in away.refusal("keys list")
    assert "database" in away.refusal("db current")
    for command in ("keys list", "db upgrade", "db downgrade 0001"):
        assert "9999" in Shell(newer).refusal(command)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("garbage.db", "cannot be used: file is not a database"),
        ("folder", "is a directory"),
        ("garbage.db/x.db", "cannot be made: {folder}/garbage.db is no folder"),
    ],
)
def test_a_file_that_is_no_database_is_one_line(shell: Shell, tmp_path: Path, name: str, words: str) -> None:
    """It names the setting, or the argument, that the file comes from, and leaves it as it is."""
    content = b"no database at all\n" * 300
    (tmp_path / "garbage.db").write_bytes(content)
    (tmp_path / "folder").mkdir()
    address = f"sqlite:///{tmp_path}/{name}"
    told = f"{tmp_path}/{name} {words.format(folder=tmp_path)}"
    for command in ("keys list", "db upgrade", "db downgrade base", "db current", "db copy sqlite:///unused.db"):
        assert Shell(address).refusal(command) == f"DATABASE_URL: {told}"
    assert shell.refusal(f"db copy {address}") == f"TARGET_URL: {told}"
    assert (tmp_path / "garbage.db").read_bytes() == content


@pytest.mark.long
async def test_a_service_takes_a_key_over(fake: FakeOllama, tmp_path: Path) -> None:
    """A key made in a shell is good at a service that runs within a second, and one revoked there is not."""
    variables = {"DATABASE_URL": f"sqlite:///{tmp_path}/keys.db", "API_KEY": "admin-key", "LOG_LEVEL": "DEBUG"}
    async with serving_process(tmp_path, fake.url, **variables) as service, service.client() as client:

        async def answered(key: str, status: int) -> None:
            async with asyncio.timeout(1):
                while (await client.get("/api/key", headers={"X-API-Key": key})).status_code != status:
                    await asyncio.sleep(0.02)

        async with running(tmp_path, (*QUART, "keys", "create", "--name", "one"), variables) as command:
            assert await command.ended() == 0, command.report()
            key_id, secret = command.errors.partition(":")[0], command.output.strip()
            assert command.output == f"{secret}\n"
        await answered(secret, 200)
        async with running(tmp_path, (*QUART, "keys", "revoke", key_id), variables) as command:
            assert await command.ended() == 0, command.report()
        await answered(secret, 401)


async def test_a_newer_database_stops_start_up(newer: str, tmp_path: Path) -> None:
    """A service that is too old for its database says so in one line, and does not serve."""
    variables = {"DATABASE_URL": newer, "HOST": "127.0.0.1", "PORT": "0", "EMBEDDED_ENGINE": "off"}
    async with running(tmp_path, COMMAND, variables) as process:
        assert await process.ended() == 1, process.report()
        assert process.errors == (
            "The service cannot start: The database is at step 9999, which is not known here: a newer version of the "
            "service wrote it.\n"
        )
        assert process.output == ""
