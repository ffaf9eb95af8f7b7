"""The list of mutants that need not be noticed, and what keeps it true."""

from pathlib import Path

import pytest

from tests.mutation.explained import Explained, explained, is_gone, slower

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = explained()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.file}:{entry.before}")
def test_lines_are_still_there(entry: Explained) -> None:
    """An entry whose lines have changed is to be looked at again, or taken out."""
    assert not is_gone(entry, ROOT)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.file}:{entry.before}")
def test_every_entry_says_why(entry: Explained) -> None:
    """A reason is a sentence."""
    assert len(entry.reason.split()) >= 5
    assert entry.reason.endswith(".")


def test_no_entry_stands_twice() -> None:
    """Each change has one reason."""
    keys = [(entry.file, entry.function, entry.before, entry.after) for entry in ENTRIES]
    assert len(set(keys)) == len(keys)


def test_slower_tests_exist() -> None:
    """Files that only slower tests run, and those tests, are there."""
    for file, tests in slower().items():
        assert (ROOT / file).is_file(), file
        assert all((ROOT / test.partition("::")[0]).exists() for test in tests), tests


@pytest.mark.parametrize(
    ("before", "gone"),
    [("a = 1\nb = 2", False), ("  b = 2  ", False), ("a = 1\nc = 3", True), ("b = 3", True), ("", True)],
)
def test_a_change_is_gone_when_its_lines_are(tmp_path: Path, before: str, gone: bool) -> None:
    """Lines count as there when they stand in the file one after the other, however far in."""
    (tmp_path / "it.py").write_text("if x:\n    a = 1\n    b = 2\n    c = 3\n", "utf-8")
    assert is_gone(Explained("it.py", before, "pass", "It does the same as before."), tmp_path) is gone


def test_a_change_is_gone_with_its_file(tmp_path: Path) -> None:
    """A file that was moved takes its entries along."""
    assert is_gone(Explained("moved.py", "a = 1", "pass", "It does the same as before."), tmp_path)
