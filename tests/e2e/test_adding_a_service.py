"""The page "Adding a service", done to a copy of the repository exactly as it says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.page_blocks import Block, read_blocks
from tests.e2e.processes import REPOSITORY, clean_environment

ROUTE = "/api/other/text-stats"
COPIED = ("mlops_backend", "tests", "pyproject.toml")
PRINT_OPENAPI = """
import asyncio, json
from mlops_backend import create_app
from mlops_backend.config import Settings

app = create_app(Settings(_env_file=None, log_level="ERROR"))
print(json.dumps(app.extensions["QUART_SCHEMA"].openapi_provider.schema()))
"""


def apply_diff(text: str, diff: str) -> str:
    """Do what a diff's hunks say; each must fit at exactly one place."""
    for hunk in diff.rstrip("\n").split("\n@@\n"):
        lines = hunk.split("\n")
        old = "\n".join(line[1:] for line in lines if not line.startswith("+"))
        new = "\n".join(line[1:] for line in lines if not line.startswith("-"))
        assert text.count(f"\n{old}\n") == 1, f"does not fit at one place:\n{old}"
        text = text.replace(f"\n{old}\n", f"\n{new}\n")
    return text


def apply_block(copy: Path, block: Block) -> None:
    """Write the file that a block names, or change it."""
    target = copy / block.name
    if block.language == "diff":
        target.write_text(apply_diff(target.read_text("utf-8"), block.text), "utf-8")
        return
    assert not target.exists(), f"{block.name} is there already"
    target.write_text(block.text, "utf-8")


def run(copy: Path, *command: str) -> str:
    """Run a Python module or program in the copy; returns what it prints."""
    done = subprocess.run(
        [sys.executable, *command], cwd=copy, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def blocks() -> list[Block]:
    """The page's blocks: those that are named after files."""
    return [block for block in read_blocks().values() if "/" in block.name]


@pytest.fixture(scope="module")
def changed(blocks: list[Block], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the page's service in it."""
    copy = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("*.pyc.*")  # what another process is just writing; what is compiled already helps
    for name in COPIED:
        source = REPOSITORY / name
        shutil.copytree(source, copy / name, ignore=ignored) if source.is_dir() else shutil.copy2(source, copy)
    for block in blocks:
        apply_block(copy, block)
    return copy


def test_the_services_own_test_passes(changed: Path) -> None:
    """The route counts, needs a key and names faulty fields, says the page's own test; the other rules hold too."""
    tests = ("tests/web/test_text_stats.py", "tests/web/test_openapi.py", "tests/test_architecture.py")
    run(changed, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, "-k", "text or every or modules")


def test_the_service_is_documented(changed: Path) -> None:
    """The route is in the API's description, with its body, its example and the need for a key."""
    document = json.loads(run(changed, "-c", PRINT_OPENAPI))
    operation = document["paths"][ROUTE]["post"]
    assert operation["summary"] == "Measure a text."
    assert operation["requestBody"]["content"]["application/json"]["example"] == {"text": "The sky is blue."}
    assert "security" not in operation


def test_the_service_is_in_style(changed: Path, blocks: list[Block]) -> None:
    """The page's code passes the linter and the formatter."""
    names = [block.name for block in blocks]
    run(changed, "-m", "ruff", "check", "--no-cache", *names)
    run(changed, "-m", "ruff", "format", "--no-cache", "--check", *names)


@pytest.mark.parametrize("diff", ["-not there\n+anything", " # twice\n+anything"])
def test_a_diff_that_does_not_fit_is_noticed(diff: str) -> None:
    """A hunk whose lines are nowhere, or at two places, fails."""
    with pytest.raises(AssertionError, match="does not fit"):
        apply_diff("start\n# twice\nmiddle\n# twice\nend\n", diff)
