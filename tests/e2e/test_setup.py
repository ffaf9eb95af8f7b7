"""Set-up as a newcomer meets it: make in a fresh copy of the repository, with nothing prepared."""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from scripts import make_env
from tests.e2e.processes import REPOSITORY, answers, clean_environment, free_port, open_directly, wait_until

MODEL = "smollm2:135m"
NOT_SOURCES = (".git", ".venv*", ".env", "__pycache__", ".*_cache", ".hypothesis", "data", "results")


def copy_repository(target: Path) -> None:
    """Copy what a clone would hold, with what is not committed yet."""
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        shutil.copytree(REPOSITORY, target, ignore=shutil.ignore_patterns(*NOT_SOURCES))
        return
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target / name)


class Made:
    """`make run` in its own process group, as a shell starts it."""

    def __init__(self, clone: Path, log: Path, **variables: str) -> None:
        self.log = log
        self.port = free_port()
        environment = clean_environment(HOST="127.0.0.1", PORT=str(self.port), **variables)
        with log.open("wb") as output:
            self.make = subprocess.Popen(
                ["make", "run"],
                cwd=clone,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait_for_banner(self, seconds: float) -> float:
        """Wait for the banner, and return the time at which it was seen."""
        wait_until(lambda: self.ended() or "http://" in self.log.read_text(), seconds, self.log.read_text)
        assert not self.ended(), self.log.read_text()
        return time.monotonic()

    def ended(self) -> bool:
        """Tell whether make is over."""
        return self.make.poll() is not None

    def processes(self) -> list[psutil.Process]:
        """List everything that make started and that still runs."""
        return psutil.Process(self.make.pid).children(recursive=True)

    def service(self) -> psutil.Process:
        """Find the process of the service."""
        return next(one for one in self.processes() if one.cmdline()[1:] == ["-m", "mlops_backend"])

    def kill(self) -> None:
        """Leave nothing behind, whatever the test came to."""
        for process in [] if self.ended() else self.processes():
            process.kill()
        self.make.kill()
        self.make.wait()


def stream(port: int, key: str) -> Iterator[tuple[float, dict[str, object]]]:
    """Ask for a stream as the README's curl does; yield each object with the time of its arrival."""
    body = {"model": MODEL, "prompt": "Why is the sky blue?", "options": {"num_predict": 40}}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/llm/stream",
        data=json.dumps(body).encode(),
        headers={"X-API-Key": key, "Content-Type": "application/json"},
    )
    with open_directly(request, timeout=20) as response:
        assert response.headers["Content-Type"].startswith("application/x-ndjson")
        for line in response:
            yield time.monotonic(), json.loads(line)


def ollama_listens() -> bool:
    """Tell whether something listens where Ollama does, which the service would prefer to its own engine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", 11434)) == 0


@pytest.fixture(scope="module", name="clone")
def _clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clone = tmp_path_factory.mktemp("newcomer") / "clone"
    copy_repository(clone)
    return clone


@pytest.fixture(name="prepared")
def _prepared(clone: Path) -> Path:
    """Make a clone as the first make run leaves it, whether or not that test ran before."""
    for command in (["make", "install"], [".venv/bin/python", "scripts/make_env.py", "dotenv"]):
        subprocess.run(command, cwd=clone, env=clean_environment(), check=True)
    return clone


@pytest.mark.long
def test_make_run_in_a_fresh_clone_streams_a_models_words(clone: Path, tmp_path: Path) -> None:
    """One command, and a model's words stream within 5 s of the banner; SIGTERM ends it with 0."""
    made = Made(clone, tmp_path / "log", **({"EMBEDDED_ENGINE": "on"} if ollama_listens() else {}))
    try:
        banner_at = made.wait_for_banner(150)
        wait_until(lambda: answers(f"http://127.0.0.1:{made.port}/health"), 5, made.log.read_text)
        key = re.findall(r"^API_KEY=(.+)$", (clone / ".env").read_text("utf-8"), re.MULTILINE)
        times, objects = zip(*stream(made.port, *key), strict=True)
        assert times[0] - banner_at < 5
        assert len(objects) > 5
        assert {one["model"] for one in objects} == {MODEL}
        assert [one["done"] for one in objects] == [False] * (len(objects) - 1) + [True]
        assert len("".join(str(one["response"]) for one in objects).split()) > 5
        processes = made.processes()
        made.service().send_signal(signal.SIGTERM)
        assert made.make.wait(timeout=20) == 0, made.log.read_text()
        assert not psutil.wait_procs(processes, timeout=20)[1]
    finally:
        made.kill()


@pytest.mark.long
def test_second_make_run_changes_nothing_and_leaves_nothing(prepared: Path, tmp_path: Path) -> None:
    """A second run keeps key and environment, and a signal to its whole group leaves no process."""
    kept = [prepared / ".env", *(prepared / ".venv" / ".locks").iterdir()]
    before = [(path, path.stat().st_mtime_ns) for path in kept]
    made = Made(prepared, tmp_path / "log")
    try:
        made.wait_for_banner(15)
        processes = made.processes()
        os.killpg(made.make.pid, signal.SIGTERM)
        made.make.wait(timeout=20)
        assert not psutil.wait_procs(processes, timeout=10)[1], made.log.read_text()
    finally:
        made.kill()
    assert [(path, path.stat().st_mtime_ns) for path in kept] == before


@pytest.mark.long
def test_make_install_with_unchanged_locks_takes_no_time(prepared: Path) -> None:
    """Where nothing changed, make install prints nothing and is done within about a second."""
    started = time.monotonic()
    done = subprocess.run(
        ["make", "install"], cwd=prepared, env=clean_environment(), capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert time.monotonic() - started < 2


def test_uv_installs_where_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It checks hashes as pip does, and installs into the environment that is made, not into its own."""
    environment, lock = make_env.Environment(tmp_path), tmp_path / "requirements.txt"
    monkeypatch.delenv("UV", raising=False)
    assert environment.pip_install(lock, "--no-deps")[1:4] == ["-m", "pip", "install"]
    monkeypatch.setenv("UV", "/opt/uv")
    target = ["--python", str(environment.python), "--require-hashes"]
    command = ["/opt/uv", "pip", "install", "--quiet", *target, "--no-deps", "-r", str(lock)]
    assert environment.pip_install(lock, "--no-deps") == command


def test_dotenv_gets_a_fresh_key_for_its_owner_only(tmp_path: Path) -> None:
    """The .env that make writes holds a new key, only its owner may read it, and a second call keeps it."""
    example, target = REPOSITORY / ".env.example", tmp_path / ".env"
    assert make_env.write_dotenv(example, target)
    written = target.read_text("utf-8")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    keys = re.findall(r"^API_KEY=([\w-]{32,})$", written, re.MULTILINE)
    assert len(keys) == 1
    assert written.replace(keys[0], "your-secret-api-key-change-this") == example.read_text("utf-8")
    assert not make_env.write_dotenv(example, target)
    assert target.read_text("utf-8") == written


@pytest.fixture(name="bare")
def _bare(tmp_path: Path) -> Path:
    """Make a checkout whose make_env.py only prints the interpreter that make chose, and a PATH for it."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "scripts" / "make_env.py").write_text("import sys; print(sys.executable)", "utf-8")
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    return tmp_path


def add_program(bare: Path, name: str, script: str) -> None:
    """Put a shell script on the PATH of the bare checkout."""
    path = bare / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)


def make_install(bare: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make install with only the bare checkout's programs on PATH."""
    make = shutil.which("make")
    assert make
    return subprocess.run(
        [make, "install", *arguments],
        cwd=bare,
        env={"PATH": str(bare / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_takes_the_first_python_that_runs(bare: Path) -> None:
    """A python3 that is a failing shim, and one that is too old, are passed over for one that fits."""
    add_program(bare, "python3", "echo 'shim: no such version' >&2; exit 127")
    add_program(bare, "python3.13", "exit 1")
    add_program(bare, "python3.12", f'exec {sys.executable} "$@"')
    done = make_install(bare)
    assert (done.returncode, done.stdout.strip()) == (0, sys.executable)


def test_make_honours_python(bare: Path) -> None:
    """PYTHON=… is taken even if another interpreter comes first on PATH."""
    add_program(bare, "python3", "exit 1")
    done = make_install(bare, f"PYTHON={sys.executable}")
    assert (done.returncode, done.stdout.strip()) == (0, sys.executable)


@pytest.mark.parametrize("arguments", [[], ["PYTHON=python3"]])
def test_make_says_when_no_python_fits(bare: Path, arguments: list[str]) -> None:
    """Without a Python 3.11 or newer that runs, make says so in one sentence and fails."""
    add_program(bare, "python3", "exit 1")
    done = make_install(bare, *arguments)
    first, *others = done.stderr.splitlines()
    assert done.returncode != 0
    assert first.startswith("No Python 3.11 or newer that runs was found")
    assert all(line.startswith("make:") for line in others)


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_missing_venv_names_the_package(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a distribution splits venv off, the message names the package to install."""
    present = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else present(name))
    with pytest.raises(make_env.SetupError, match=rf"{module} is missing.*apt install python3\.\d+-venv"):
        make_env.Environment(tmp_path / "venv").ensure([], [])


def write_wheel(folder: Path, name: str, version: str) -> None:
    """Write the smallest wheel that pip installs."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", f"version = {version!r}\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def lock_line(folder: Path, name: str, version: str) -> str:
    """Write a wheel and return the line that locks it."""
    write_wheel(folder, name, version)
    digest = hashlib.sha256((folder / f"{name}-{version}-py3-none-any.whl").read_bytes()).hexdigest()
    return f"{name}=={version} --hash=sha256:{digest}\n"


def installed(environment: make_env.Environment) -> set[str]:
    """List the distributions in an environment, but for pip and its like."""
    found = environment.folder.glob("lib/python*/site-packages/*.dist-info")
    return {path.name.removesuffix(".dist-info") for path in found if not path.name.startswith(("pip", "setup"))}


@pytest.fixture(scope="module", name="environment")
def _environment(tmp_path_factory: pytest.TempPathFactory) -> make_env.Environment:
    """Name one environment for all tests of refreshing, for making one takes seconds."""
    return make_env.Environment(tmp_path_factory.mktemp("environment") / "venv")


@pytest.fixture(name="wheels")
def _wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty folder of wheels, and let pip know no other source."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


@pytest.mark.long
def test_environment_follows_its_locks(
    environment: make_env.Environment, wheels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A changed lock is followed both ways; an optional one that cannot be had only gets a warning."""
    main, other, optional = (tmp_path / name for name in ("main.txt", "other.txt", "optional.txt"))
    beta = lock_line(wheels, "beta", "1")
    main.write_text(lock_line(wheels, "alpha", "1") + beta + lock_line(wheels, "gamma", "1"), "utf-8")
    other.write_text(beta, "utf-8")
    optional.write_text(f"absent==1 --hash=sha256:{'0' * 64}\n", "utf-8")

    environment.ensure([main, other], [optional])
    assert installed(environment) == {"alpha-1", "beta-1", "gamma-1"}
    command = f"{environment.python} -m pip install"
    assert any(line.strip().startswith(command) for line in capsys.readouterr().out.splitlines())

    main.write_text(lock_line(wheels, "alpha", "2"), "utf-8")
    optional.write_text(lock_line(wheels, "delta", "1"), "utf-8")
    environment.ensure([main, other], [optional])
    assert installed(environment) == {"alpha-2", "beta-1", "delta-1"}

    shutil.rmtree(wheels)
    capsys.readouterr()
    environment.ensure([main, other], [optional])
    assert capsys.readouterr().out == ""


@pytest.mark.long
def test_lock_that_must_be_had_stops_the_set_up(
    environment: make_env.Environment, wheels: Path, tmp_path: Path
) -> None:
    """A lock that cannot be installed ends make with pip's own words, and is tried again next time."""
    lock = tmp_path / "must.txt"
    lock.write_text(lock_line(wheels, "omega", "1").replace("sha256:", "sha256:0")[:-2] + "\n", "utf-8")
    with pytest.raises(make_env.SetupError, match="omega"):
        environment.ensure([lock], [])
    lock.write_text(lock_line(wheels, "omega", "1"), "utf-8")
    environment.ensure([lock], [])
    assert "omega-1" in installed(environment)
