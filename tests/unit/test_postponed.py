"""Modules that are run when somebody uses them: they are as if they had been there all the time."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from mlops_backend import postponed

PART = """
print("run")
OTHER = "text"
table = {"a": 1}
class Thing:
    made = 7
    def __init__(self, size):
        self.size = size
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package whose `part` is postponed, with the names `Thing` and `table`."""
    name = f"postponed_{tmp_path.name}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("from .part import Thing, table\nfrom . import part\n")
    (tmp_path / name / "part.py").write_text(PART)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(postponed, "POSTPONED", {f"{name}.part": ("Thing", "table")})
    yield name
    sys.modules.pop(name, None)
    sys.modules.pop(f"{name}.part", None)


@pytest.mark.parametrize(
    ("use", "result"),
    [
        ("Thing(3).size", 3),
        ("Thing.made", 7),
        ("type('Own', types.resolve_bases((Thing,)), {})(2).size", 2),
        ("table['a']", 1),
        ("'a' in table", True),
        ("part.OTHER", "text"),
        ("part.Thing(4).size", 4),
        ("isinstance(part.Thing(1), Thing)", True),
    ],
)
def test_a_use_runs_the_module(package: str, use: str, result: object, capsys: pytest.CaptureFixture[str]) -> None:
    """Once, and with the result that it would have had."""
    held = import_module(package)
    assert capsys.readouterr().out == ""
    names = {"Thing": held.Thing, "table": held.table, "part": held.part, "types": types}
    assert eval(use, names) == result
    assert eval(use, names) == result
    assert capsys.readouterr().out == "run\n"
    assert type(held.part.Thing) is type


def test_a_look_is_no_use(package: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is an instance of a class that nobody has made, and tools that go through all modules wake none."""
    held = import_module(package)
    assert not isinstance(3, held.Thing)
    assert not hasattr(held.part, "__warningregistry__")
    assert not hasattr(held.Thing, "__wrapped__")
    assert capsys.readouterr().out == ""


def test_a_name_that_is_not_there_is_missed(package: str) -> None:
    """In the words of Python."""
    held = import_module(package)
    with pytest.raises(AttributeError, match="part' has no attribute 'nothing'"):
        held.part.nothing  # noqa: B018 - asking is the test
    with pytest.raises(ImportError):
        exec(f"from {package}.part import nothing")
