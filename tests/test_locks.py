"""The locks: what they may hold, and how their staleness is noticed."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values

from mlops_backend.config import Settings, load_settings
from scripts import locks, make_env

LOCK_NAMES = [lock.name for lock in locks.LOCKS]


def text(name: str) -> str:
    """Read a file at the top of the repository."""
    return (locks.ROOT / name).read_text("utf-8")


def project() -> dict[str, Any]:
    """Read pyproject.toml."""
    return tomllib.loads(text("pyproject.toml"))


def package(requirement: str) -> str:
    """Return the normalised name that a requirement starts with."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


@pytest.fixture(name="copy")
def _copy(tmp_path: Path) -> Path:
    for name in ["pyproject.toml", *LOCK_NAMES]:
        shutil.copy(locks.ROOT / name, tmp_path)
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    """Replace the one occurrence of a text in a file."""
    before = path.read_text("utf-8")
    assert before.count(old) == 1
    path.write_text(before.replace(old, new), "utf-8")


def test_locks_match_their_inputs() -> None:
    """Every lock in the repository was compiled from today's lists."""
    assert locks.stale() == []


@pytest.mark.parametrize("name", LOCK_NAMES)
def test_lock_names_no_place(name: str) -> None:
    """No lock holds an address, an index, a source other than the index, or a path of some machine."""
    for line in text(name).splitlines():
        assert re.fullmatch(
            r"# input-sha256: [0-9a-f]{64}"
            r"|# Compiled by `make lock` from pyproject\.toml; not edited by hand\."
            r"|[a-z0-9._-]+==[\w.]+( ; [\w .'<>=!()]+)? \\"
            r"|    --hash=sha256:[0-9a-f]{64}( \\)?"
            r"|    # via [\w ,.()\[\]:-]+",
            line,
        ), line


@pytest.mark.parametrize("name", LOCK_NAMES)
def test_every_pin_has_a_hash(name: str) -> None:
    """A package without a hash would let pip take any file of that name."""
    pinned = re.split(r"^(?=[a-z0-9._-]+==)", text(name), flags=re.MULTILINE)[1:]
    assert pinned
    assert all("--hash=sha256:" in one for one in pinned)


def test_locks_hold_what_was_asked_for() -> None:
    """Each list's packages are in its lock; the embedded lock holds nothing else."""
    lists = {"dependencies": project()["project"]["dependencies"], **project()["dependency-groups"]}
    for lock in locks.LOCKS:
        asked = {package(item) for name in lock.lists for item in lists[name]}
        assert asked <= locks.pins(text(lock.name)).keys()
    assert locks.pins(text("requirements-embedded.txt")).keys() == {package(item) for item in lists["embedded"]}


def test_development_lock_pins_what_runs() -> None:
    """Tests run on the very versions that the service runs on."""
    for name in ("requirements.txt", "requirements-tracing.txt"):
        assert locks.pins(text(name)).items() <= locks.pins(text("requirements-dev.txt")).items()


def test_what_traces_add_pins_nothing_otherwise() -> None:
    """Both are installed into one environment: no package has two versions."""
    ours, theirs = (locks.pins(text(name)) for name in ("requirements.txt", "requirements-tracing.txt"))
    assert {name: theirs[name] for name in ours.keys() & theirs.keys()}.items() <= ours.items()


def test_changed_list_makes_its_locks_stale(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The check names each stale lock and how to refresh it, and fails; the others stay fresh."""
    edit(copy / "pyproject.toml", '"structlog>=', '"structlog>1,>=')
    assert locks.report(copy) == 1
    out = capsys.readouterr().out
    assert "requirements.txt is stale" in out
    assert "requirements-dev.txt is stale" in out
    assert "requirements-embedded.txt" not in out
    assert "make lock" in out


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[tool.mypy]", "# a comment\n[tool.mypy]"),
        ('  "structlog>=', '      "structlog >= '),
        ('description = "', 'description = "Other '),
    ],
)
def test_other_edits_leave_the_locks_fresh(copy: Path, old: str, new: str) -> None:
    """White space, comments and the rest of pyproject.toml do not make a lock stale."""
    edit(copy / "pyproject.toml", old, new)
    assert locks.stale(copy) == []


def test_hand_edited_run_time_pin_makes_the_development_lock_stale(copy: Path) -> None:
    """The locks of traces and of development are compiled against the run-time lock: a new pin is an input too."""
    version = locks.pins(text("requirements.txt"))["quart"]
    edit(copy / "requirements.txt", f"\nquart=={version} ", "\nquart==0.22.99 ")
    assert locks.stale(copy) == ["requirements-tracing.txt", "requirements-dev.txt"]


def test_missing_lock_is_stale(copy: Path) -> None:
    """A lock that is not there counts as stale, and so does what is compiled against it."""
    (copy / "requirements.txt").unlink()
    assert locks.stale(copy) == ["requirements.txt", "requirements-tracing.txt", "requirements-dev.txt"]


def test_check_never_resolves(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check compares hashes only: it starts no other program."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "run", fail)
    monkeypatch.setattr(subprocess, "Popen", fail)
    assert locks.report(copy) == 0


def test_makefile_takes_the_pythons_that_the_project_supports() -> None:
    """The interpreters that make accepts are those of requires-python."""
    (lowest,) = re.findall(r"version_info < \((3, \d+)\)", text("Makefile"))
    assert project()["project"]["requires-python"] == f">={lowest}".replace(", ", ".")


def test_every_tested_python_has_a_name_for_make() -> None:
    """The Pythons of `make test-pythons` are all looked for; set-up warns of those newer than the last."""
    (tested,) = re.findall(r"^PYTHONS := (.+)$", text("Makefile"), re.MULTILINE)
    assert {f"python{version}" for version in tested.split()} <= set(text("Makefile").split())
    assert tested.split()[-1] == "{}.{}".format(*make_env.NEWEST_TESTED)


def test_example_environment_names_every_setting() -> None:
    """.env.example holds every setting, set or commented out, and nothing else but what `quart run` reads."""
    names = re.findall(r"^(?:# )?([A-Z_]+)=", text(".env.example"), re.MULTILINE)
    assert sorted(names) == sorted([*map(str.upper, Settings.model_fields), "QUART_APP", "QUART_RUN_PORT"])


def test_example_environment_holds_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """The values shown are the defaults, and OLLAMA_BASE_URL is left to the service to decide."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    example = str(locks.ROOT / ".env.example")
    assert load_settings(example) == load_settings(None)
    assert not load_settings(example).ollama_is_named
    assert dotenv_values(example)["QUART_RUN_PORT"] == str(load_settings(None).port)
    assert "# OLLAMA_BASE_URL=" + ",".join(load_settings(None).ollama_base_url) in text(".env.example")
