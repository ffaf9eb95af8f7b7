"""Which tests run which lines, and how long each takes: recorded once, and again for what changed."""

from __future__ import annotations

import ast
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from pathlib import Path

import coverage
import pytest

from tests.mutation.children import run_pytest

SUITES = ("tests/unit", "tests/web")
# Thousands of generated requests, which take minutes and run every line a little.
LEFT_OUT = ("tests/web/test_schema_conformance.py", "tests/unit/test_linear_time.py")
# Rules and pages, which run nothing.
APART = tuple(f"tests/test_{name}.py" for name in ("architecture", "document_tables", "documents", "locks", "site"))
DATA = "lines.coverage"
TIMES = "tests.json"


class RecordError(Exception):
    """The tests cannot be recorded; the message says why."""


@dataclass
class Recorded:
    """What is known of the tests; kept as JSON beside the lines."""

    base: str = ""
    files: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


class Recorder:
    """A plugin of pytest: tells coverage which test runs, and adds up its time."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Note lines as those of this test."""
        self._measured.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            self._measured.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add what each part took."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed and report.nodeid not in self.failed:
            self.failed.append(report.nodeid)


class Record:
    """The tests of a copy of the tree, kept in a folder."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root = root
        self._folder = folder
        self.known = Recorded()
        if (folder / TIMES).exists() and (folder / DATA).exists():
            self.known = Recorded(**json.loads((folder / TIMES).read_text("utf-8")))

    def refresh(self, say: Callable[[str], None]) -> None:
        """Run the test files that changed, or all if anything else did."""
        files = {name: _digest(self._root / name) for name in _test_files(self._root)}
        base = _base(self._root, files)
        if base != self.known.base:
            self.known = Recorded(base)
            (self._folder / DATA).unlink(missing_ok=True)
        changed = [name for name, digest in files.items() if self.known.files.get(name) != digest]
        self._forget([name for name in (*self.known.files, *changed) if name not in files or name in changed])
        if changed:
            say(f"Recording which lines {len(changed)} test files run")
            self._run(changed)
            self.known.files = files
            (self._folder / TIMES).write_text(json.dumps(asdict(self.known), indent=1), "utf-8")
        if self.known.failed:
            say("Left out, for they failed: " + ", ".join(self.known.failed))

    def _forget(self, names: Sequence[str]) -> None:
        gone = tuple(f"{name}::" for name in names)
        self.known.seconds = {test: time for test, time in self.known.seconds.items() if not test.startswith(gone)}
        self.known.failed = [test for test in self.known.failed if not test.startswith(gone)]

    def _run(self, names: Sequence[str]) -> None:
        output = self._folder / "record.txt"
        told = self._folder / "recorded.json"
        told.unlink(missing_ok=True)
        run_pytest(self._root, output, names, None, around=self._measure)
        if not told.exists():
            raise RecordError(f"The tests did not end; see {output}")
        answer = json.loads(told.read_text("utf-8"))
        self.known.seconds |= answer["seconds"]
        self.known.failed += answer["failed"]

    def _measure(self, run: Callable[[Sequence[object]], int]) -> int:
        """Run the tests in the child, and keep what they ran."""
        measured = coverage.Coverage(
            data_file=str(self._folder / DATA),
            config_file=False,
            source=["mlops_backend"],
            concurrency=["thread", "greenlet"],
        )
        measured.set_option("run:relative_files", True)
        if (self._folder / DATA).exists():
            measured.load()
        recorder = Recorder(measured)
        measured.start()
        status = run([recorder])
        measured.stop()
        measured.save()
        answer = {"seconds": recorder.seconds, "failed": recorder.failed}
        (self._folder / "recorded.json").write_text(json.dumps(answer), "utf-8")
        return status

    @cached_property
    def _lines(self) -> coverage.CoverageData:
        data = coverage.CoverageData(str(self._folder / DATA))
        data.read()
        return data

    @cache  # noqa: B019
    def _tests_by_line(self, file: str) -> dict[int, list[str]]:
        found: dict[int, list[str]] = self._lines.contexts_by_lineno(file)
        return found

    def tests_of(self, file: str, lines: tuple[int, int]) -> list[str]:
        """The tests that run these lines, one case of each before any second one, the quickest first.

        Those of a file that is named after this one come before all others.

        Lines that run when a module is imported belong to no test: they get those that run any other line of the
        file, else those of the modules that import it.
        """
        by_line = self._tests_by_line(file)
        reached = {test for line in range(lines[0], lines[1] + 1) for test in by_line.get(line, ())}
        if not reached:
            return []
        tests = reached - {""} or self._tests_around(file, set())
        usable = tests & self.known.seconds.keys() - set(self.known.failed)
        stem = Path(file).stem
        turns = self._in_turn(sorted(usable, key=lambda test: (self.known.seconds[test], test)))
        return sorted(turns, key=lambda test: stem not in test.partition("::")[0])

    def _in_turn(self, tests: Sequence[str]) -> list[str]:
        """Of each test the quickest case first, then the next one: cases of one test notice much the same."""
        seen: Counter[str] = Counter()
        turns = []
        for place, test in enumerate(tests):
            name = test.partition("[")[0]
            turns.append((seen[name], place, test))
            seen[name] += 1
        return [test for _, _, test in sorted(turns)]

    def _tests_around(self, file: str, seen: set[str]) -> set[str]:
        tests = {test for names in self._tests_by_line(file).values() for test in names} - {""}
        seen.add(file)
        if tests:
            return tests
        importing = [other for other in _importers(self._root).get(_module(file), ()) if other not in seen]
        return {test for other in importing for test in self._tests_around(other, seen)}


def _module(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def _importers(root: Path) -> dict[str, set[str]]:
    """Which files import a module, by its name."""
    found: dict[str, set[str]] = {}
    for path in sorted((root / "mlops_backend").rglob("*.py")):
        file = str(path.relative_to(root))
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                    found.setdefault(name, set()).add(file)
    return found


def _test_files(root: Path) -> list[str]:
    found = [str(path.relative_to(root)) for suite in SUITES for path in sorted((root / suite).rglob("test_*.py"))]
    return [name for name in found if name not in LEFT_OUT]


def _base(root: Path, files: dict[str, str]) -> str:
    """A hash of the product and of all that tests share."""
    others = [path for folder in ("mlops_backend", *SUITES, "tests/fakes") for path in (root / folder).rglob("*.py")]
    shared = [*(root / "tests").glob("*.py"), *others]
    names = {str(path.relative_to(root)): path for path in sorted(shared)}
    told = "".join(f"{name} {_digest(path)}\n" for name, path in names.items() if name not in (*files, *APART))
    return hashlib.sha256(told.encode()).hexdigest()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
