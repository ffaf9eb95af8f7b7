"""`deploy/systemd`: what systemd says of the unit, and that its command serves with its environment."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import httpx
import pytest

from mlops_backend.config import Settings
from tests.deploy.environment import settings_of
from tests.e2e.newcomer import need
from tests.e2e.page_blocks import read_blocks
from tests.e2e.processes import REPOSITORY, clean_environment, free_port
from tests.e2e.server_process import KEY, running
from tests.fakes.ollama import FakeOllama

UNIT: Final = REPOSITORY / "deploy" / "systemd" / "mlops-backend.service"
CODE: Final = "/opt/mlops_backend"
# What `systemd-analyze security` calls it: 0 is shut off from everything, 10 is root.
BEARABLE: Final = 2.0


def lines(name: str) -> list[str]:
    """All values that the unit gives a word, in their order."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE)


def line(name: str) -> str:
    """The one value of a word."""
    (value,) = lines(name)
    return value


def here(text: str, folder: Path) -> str:
    """A text of the unit with systemd's own words, and the places of the code, as they are in the test."""
    text = text.replace(f"{CODE}/.venv", sys.prefix).replace(CODE, str(REPOSITORY))
    return text.replace("%S", f"{folder}/state").replace("%d", f"{folder}/credentials")


def variables(folder: Path) -> dict[str, str]:
    """The environment that systemd would give."""
    words = [word for value in lines("Environment") for word in shlex.split(here(value, folder))]
    return dict(word.split("=", 1) for word in words)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """The places that systemd makes before it starts the command."""
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / line("LoadCredential").partition(":")[0]).write_text(f"{KEY}\n")
    (tmp_path / "state" / line("StateDirectory")).mkdir(parents=True)
    return tmp_path


def analyze(folder: Path, text: str, *arguments: str) -> tuple[int, str]:
    """How systemd-analyze ends on a unit of this text, and what it says."""
    need("systemd-analyze")
    unit = folder / UNIT.name
    unit.write_text(here(text, folder))
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments, unit],
        env=clean_environment(SYSTEMD_COLORS="0"),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.returncode, done.stdout + done.stderr


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say of the unit."""
    code, said = analyze(tmp_path, UNIT.read_text("utf-8"), "verify")
    # It looks at other units of the machine as well.
    assert (code, [line for line in said.splitlines() if UNIT.name in line]) == (0, [])


def test_systemd_would_say_what_is_wrong(tmp_path: Path) -> None:
    """`systemd-analyze verify` names a misspelt word, and a command that is not there."""
    text = UNIT.read_text("utf-8")
    assert "ProtektHome" in analyze(tmp_path, text.replace("ProtectHome", "ProtektHome"), "verify")[1]
    code, said = analyze(tmp_path, text.replace("bin/python", "bin/pythn"), "verify")
    assert code != 0
    assert "pythn" in said


def test_the_unit_is_hardened(tmp_path: Path) -> None:
    """`systemd-analyze security` finds little that the service might do, and more without the unit's lines."""
    rated = ("security", "--offline=yes", f"--threshold={int(BEARABLE * 10)}")
    code, said = analyze(tmp_path, UNIT.read_text("utf-8"), *rated)
    found = re.search(r"exposure level for .*: ([\d.]+)", said)
    assert found, said
    assert (code, float(found[1]) <= BEARABLE) == (0, True), said
    soft = re.sub(r"^(Protect|Private|Restrict|SystemCall)\w+=.*\n", "", UNIT.read_text("utf-8"), flags=re.MULTILINE)
    assert analyze(tmp_path, soft, *rated)[0] != 0


def test_the_user_is_nobody() -> None:
    """The user is there only while the service runs, and nothing that it starts gets more rights."""
    assert (line("DynamicUser"), line("NoNewPrivileges"), line("CapabilityBoundingSet")) == ("yes", "yes", "")
    assert line("User") != "root"


def test_the_service_is_given_time_to_drain() -> None:
    """Systemd's patience is ten seconds longer than the drain, and the signal is the one that begins it."""
    given = settings_time(variables(Path("/")))
    assert int(line("TimeoutStopSec")) >= given + 10
    assert (line("KillSignal"), line("KillMode")) == ("SIGTERM", "mixed")


def settings_time(environment: dict[str, str]) -> float:
    """How long a stop may take by the environment's settings."""
    delay, drain = (
        float(environment.get(name.upper(), Settings.model_fields[name].default))
        for name in ("shutdown_delay", "drain_timeout")
    )
    return delay + drain


def test_there_are_files_enough() -> None:
    """Each connection that the settings allow can have a descriptor."""
    wanted = [Settings.model_fields[name].default for name in ("max_connections", "upstream_max_connections")]
    assert int(line("LimitNOFILE")) > 2 * sum(wanted)


def test_variables_are_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All variables but Python's own are settings, and the key is in the credential."""
    own = {name: value for name, value in variables(folder).items() if not name.startswith("PYTHON")}
    settings = settings_of(own, monkeypatch)
    assert settings.api_key.get_secret_value() == KEY
    assert settings.host == "127.0.0.1"


def test_the_pages_commands_put_things_where_the_unit_looks() -> None:
    """The commands of the page make the environment, the key and the unit in the places that the unit names."""
    commands = read_blocks()["deploy-systemd"].text
    assert f"make -C {line('ExecStart').partition('/.venv/')[0]} install " in commands
    assert f" {line('LoadCredential').partition(':')[2]}\n" in commands
    assert f" {CODE}/{UNIT.relative_to(REPOSITORY)} /etc/systemd/system/\n" in commands
    assert f" enable --now {UNIT.stem}\n" in commands
    files = Path(line("EnvironmentFile").removeprefix("-")).parent
    assert f"install -d -m 700 {files}\n" in commands


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.long)])
async def test_the_command_serves(folder: Path, workers: str) -> None:
    """With its environment, in its working directory, the command answers, writes there alone, and stops with 0."""
    command, home = shlex.split(here(line("ExecStart"), folder)), Path(here(line("WorkingDirectory"), folder))
    async with FakeOllama() as fake:
        file_of_settings = {"PORT": str(free_port()), "OLLAMA_BASE_URL": fake.url, "WORKERS": workers}
        given = {**variables(folder), **file_of_settings}
        path = [Path(given.pop("PYTHONPATH"))]
        async with running(home, command, given, path=path) as process:
            await process.printed(r"\n +key +")
            async with httpx.AsyncClient(base_url=process.url, trust_env=False) as client:
                assert (await client.get("/health")).json()["status"] == "ok"
                key = {"X-API-Key": KEY}
                assert (await client.get("/api/tags", headers=key)).status_code == 200
                listed = await client.get("/api/admin/keys", headers=key)
                assert (listed.status_code, listed.json().get("keys")) == (200, []), listed.text
            process.signal(signal.Signals[line("KillSignal")])
            assert await process.ended() == 0
    assert {name.partition("-")[0] for name in os.listdir(home)} == {"mlops_backend.db"}
