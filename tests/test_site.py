"""The documentation's site: the list of its pages, and that the commands that build it are strict."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.page_blocks import DOCS
from tests.e2e.processes import REPOSITORY, clean_environment

CONFIGURATION: Final = "mkdocs.yml"
LOADED: Final = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=["']?([^"' >]+)""")
# What is put at the end of a file, and what the build then says.
FAULTS: Final = {
    "link": ("docs/try.md", "\n[x](nowhere.md)\n", "'nowhere.md', but the target is not found"),
    "link out of docs": ("docs/try.md", "\n[x](../README.md)\n", "'../README.md', but the target is not found"),
    "anchor": ("docs/try.md", "\n[x](keys.md#nowhere)\n", "does not contain an anchor '#nowhere'"),
    "orphan": ("docs/orphan.md", "# Orphan\n", 'not included in the "nav"'),
    "shown file": ("docs/try.md", '\n```sh\n--8<-- "deploy/gone"\n```\n', "'deploy/gone'"),
    "missing page": (CONFIGURATION, "  - Gone: gone.md\n", "'gone.md' is included in the 'nav'"),
}
# One of them ends the build; the others are all named by one.
STOPS_AT_ONCE: Final = "shown file"
TOGETHER: Final = [fault for fault in FAULTS if fault != STOPS_AT_ONCE]


def commands() -> list[str]:
    """The Makefile's commands that build the site, without make's own signs."""
    lines = re.findall(r"^\t@?(.*mkdocs build.*)$", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE)
    return [line.replace("$(BIN)", str(Path(sys.executable).parent)) for line in lines]


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site as `make docs` does."""
    return subprocess.run(
        ["sh", "-c", commands()[0]], cwd=folder, env=clean_environment(), capture_output=True, text=True, check=False
    )


@pytest.fixture(name="copy")
def _copy(tmp_path: Path) -> Path:
    """A folder with what the site is built from."""
    for name in ("docs", "deploy"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    shutil.copy2(REPOSITORY / CONFIGURATION, tmp_path)
    return tmp_path


def test_every_page_is_in_the_sites_list() -> None:
    """The site lists every page of `docs` once, and no page that is not there."""
    listed = re.findall(r"^ +- (?:[^:\n]+: )?(\S+\.md)$", (REPOSITORY / CONFIGURATION).read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(str(path.relative_to(DOCS)) for path in DOCS.glob("**/*.md"))


def test_docs_and_check_build_alike() -> None:
    """`make docs` and `make check` build the site with one command."""
    assert len(commands()) == 2
    assert len(set(commands())) == 1


def test_the_site_is_built_and_loads_nothing_from_elsewhere(copy: Path) -> None:
    """The pages are built without a warning, and no page loads anything from another host."""
    built = build(copy)
    assert built.returncode == 0, built.stderr
    pages = sorted((copy / "site").glob("**/*.html"))
    assert len(pages) > len(list(DOCS.glob("**/*.md")))
    loaded = {url for page in pages for url in LOADED.findall(page.read_text("utf-8"))}
    styles = "".join(style.read_text("utf-8") for style in (copy / "site").glob("**/*.css"))
    loaded |= set(re.findall(r"""(?:url\(|@import )["']?([^"')]+)""", styles))
    assert not [url for url in loaded if url.startswith(("http:", "https:", "//"))]


@pytest.mark.parametrize(
    "faults",
    [
        [fault for fault in FAULTS if fault != STOPS_AT_ONCE],
        *(
            pytest.param([fault], id=fault, marks=() if fault == STOPS_AT_ONCE else pytest.mark.long)
            for fault in FAULTS
        ),
    ],
)
def test_a_fault_fails_the_build(copy: Path, faults: list[str]) -> None:
    """A broken link or anchor, a page without a place and a place without a page fail the command, which names them."""
    for fault in faults:
        name, text, _ = FAULTS[fault]
        with (copy / name).open("a", encoding="utf-8") as file:
            file.write(text)
    built = build(copy)
    assert built.returncode != 0
    assert [fault for fault in faults if FAULTS[fault][2] not in built.stderr] == []
