"""A run against another build: every part, or those that are asked for, and the table of bounds at the end."""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench import beside, bounds, decisions, gaps, workers
from bench.builds import build_of, short_name, this_build
from bench.contests import Contest
from bench.jobs import Jobs
from bench.machine import describe
from bench.report import Row, as_json
from bench.report import rows_of as rows_of_contest
from bench.rivals import Builds, builds
from bench.scenarios import measure
from bench.table import render, table

Say = Callable[[str], None]
OF_FAMILIES = ("burst", "steady", "calls", "idle")
PARTS = (*OF_FAMILIES, "stored", "workers", "stalls", "decisions")


class Run:
    """One run: what it has found so far, for the table and for the file."""

    def __init__(self, options: argparse.Namespace, say: Say) -> None:
        self._say = say
        self._patience: float = options.patience
        self._parts: Sequence[str] = options.only or PARTS
        self._families: Sequence[str] = options.family
        self.rows: list[Row] = []
        self.found: dict[str, dict[str, Any]] = {}
        self.skipped: dict[str, str] = {}
        self.machine = describe() | {"load": f"{os.getloadavg()[0]:.1f}"}

    def all_parts(self, of: Builds) -> None:
        """Run what was asked for."""
        self.skipped |= of.absent
        for contest, only in self._contests(of):
            self.attempt(contest.name, partial(self._contest, contest, only))
        if "workers" in self._parts:
            self.attempt("workers", partial(self._workers, of))
        if "stalls" in self._parts:
            self.attempt("stalls", self._stalls)
        if "decisions" in self._parts:
            self.attempt("decisions", self._decisions)

    def attempt(self, part: str, do: Callable[[], None]) -> None:
        """Run a part; when it fails, the others are measured all the same."""
        try:
            do()
        except SystemExit as exc:
            if not isinstance(exc.code, str):  # told to stop
                raise
            self._say(exc.code)
            self._skip(part, f"it failed: {exc.code.partition(chr(10))[0]}")

    def _contests(self, of: Builds) -> Iterator[tuple[Contest, Sequence[str]]]:
        wanted = [part for part in self._parts if part in OF_FAMILIES]
        for name, contest in beside.contests(of).items():
            if name == beside.STORING:
                if "stored" in self._parts:
                    yield contest, ()
            elif self._chosen(name) and any(part in contest.plan.jobs or _idle(part, contest) for part in wanted):
                yield contest, wanted

    def _chosen(self, name: str) -> bool:
        return not self._families or name in self._families

    def _contest(self, contest: Contest, only: Sequence[str]) -> None:
        self._say(contest.title)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, contest.staged(Path(folder)) as stage:
            measured = measure(contest.plan, only, stage, Jobs(stage.servers, self._patience, self._say))
        rows = rows_of_contest(contest, measured)
        self.found[contest.name] = as_json(self.machine, asdict(contest.plan), measured, rows)
        print(f"\n{contest.title}\n{render(contest, self.machine, rows, measured)}", flush=True)
        self.rows += rows

    def _workers(self, of: Builds) -> None:
        if why := workers.impossible(of.now):
            self._skip("workers", why)
            return
        self._say(workers.TITLE)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            result = workers.measured(of.now, Path(folder))
        rows = workers.rows_of(result)
        self._tell("workers", rows, dict(result))
        print(f"\n{workers.TITLE}\n{table(rows, list(workers.CORES), workers.TWO, workers.ONE)}", flush=True)

    def _stalls(self) -> None:
        self._say(gaps.TITLE)
        found = gaps.stalls(self._say)
        rows = gaps.rows_of(found)
        self._tell("stalls", rows, {"stalls": [asdict(stall) for stall in found]})
        print(f"\n{gaps.TITLE}\n{table(rows, gaps.COLUMNS, 'gap', 'bound')}", flush=True)

    def _decisions(self) -> None:
        if why := decisions.impossible():
            self._skip("decisions", why)
            return
        self._say(decisions.TITLE)
        self.rows.append(replace(decisions.row(), of="decisions"))

    def _tell(self, part: str, rows: Sequence[Row], more: dict[str, Any]) -> None:
        found = [replace(row, of=part) for row in rows]
        self.found[part] = {"rows": [asdict(row) for row in found], **more}
        self.rows += found

    def _skip(self, part: str, why: str) -> None:
        self.skipped[part] = why
        self._say(f"{part}: skipped, {why}")


def _idle(part: str, contest: Contest) -> bool:
    return part == "idle" and contest.idle_bound is not None


def run(options: argparse.Namespace, say: Say) -> tuple[dict[str, Any], list[Row]]:
    """Measure, print every table, and return what goes into the file, and the rows."""
    revision = short_name(options.against)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        of = builds(stack.enter_context(build_of(revision, folder, say)), this_build())
        found = Run(options, say)
        found.all_parts(of)
    print(bounds.as_text(bounds.verdicts(found.rows)), flush=True)
    for name, why in found.skipped.items():
        print(f"Without {name}: {why}.", flush=True)
    rows = [asdict(row) for row in found.rows]
    told = {"machine": found.machine, "against": revision, "skipped": found.skipped, "rows": rows}
    return told | {"parts": found.found}, found.rows
