"""`python -m bench`: start everything, measure, print a table a family, write the JSON, stop everything."""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.families import DEFAULT, FAMILIES, Family
from bench.jobs import Jobs
from bench.machine import describe, raise_open_files
from bench.plan import FULL, QUICK, SCENARIOS, Plan
from bench.processes import ROOT
from bench.report import Row, as_json, rows_of
from bench.scenarios import Measured, measure
from bench.table import render
from bench.targets import NAMES, available, started

RESULTS = ROOT / "bench" / "results"


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: under 40 s a family")
    parser.add_argument("--only", choices=SCENARIOS, help="run one scenario")
    parser.add_argument("--targets", nargs="+", choices=NAMES, default=list(NAMES), help="what to compare")
    parser.add_argument("--family", nargs="+", choices=FAMILIES, default=[DEFAULT], help="whose routes to measure")
    parser.add_argument("--patience", type=float, default=0, help="seconds to wait for a quiet machine, a family")
    parser.add_argument("--json", type=Path, help="where to write the figures (default: bench/results/)")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a bound is missed")
    return parser.parse_args(arguments)


def say(text: str) -> None:
    """Tell how far it has come, beside the output proper."""
    print(text, file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> list[Row]:
    """Measure and report; return the rows of all families."""
    machine, plan = describe(), QUICK if options.quick else FULL
    names = list(dict.fromkeys(options.family))
    rows: list[Row] = []
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        say(FAMILIES[name].title)
        measured = measured_family(FAMILIES[name], plan, options)
        own = rows_of(measured)
        found[name] = as_json(machine, asdict(plan), measured, own)
        if names != [DEFAULT]:
            print(f"\n{FAMILIES[name].title}")
        print(render(machine, own, measured), flush=True)
        rows += own
    path = options.json or RESULTS / time.strftime("%Y%m%d-%H%M%S.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = found[DEFAULT] if names == [DEFAULT] else {"families": found}
    path.write_text(json.dumps(figures, indent=1) + "\n")
    say(f"figures: {path}")
    return rows


def measured_family(family: Family, plan: Plan, options: argparse.Namespace) -> Measured:
    """Measure one family, with servers of its own: each is to begin with the memory of a new process."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        names = available(options.targets)
        with started(family, names, Path(folder)) as targets:
            jobs = Jobs(list(targets.values()), options.patience, say)
            return measure(plan, options.only, [targets[name] for name in names], jobs)


def main() -> int:
    """Run from the command line."""
    options = parsed(sys.argv[1:])
    # Told to stop, it still stops what it has started.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    raise_open_files()
    rows = run(options)
    return int(options.strict and any(row.passed is False for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
