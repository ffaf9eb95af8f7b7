"""`python -m bench`: start everything, measure, print a table a family, write the JSON, stop everything.

With `--against REV` it is measured beside the build of that revision, and at the end stands what holds of the bounds.
Without, the family `conversations` compares a chat that is stored with the same one unstored, and `null` the latter
with itself.
"""

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

from bench import against, page
from bench.contests import NAMES as CONTESTS
from bench.contests import Contest, contest
from bench.families import DEFAULT, FAMILIES
from bench.jobs import Jobs
from bench.machine import describe, raise_open_files
from bench.plan import SCENARIOS
from bench.processes import ROOT
from bench.report import Row, as_json, rows_of
from bench.scenarios import Measured, measure
from bench.table import render
from bench.targets import NAMES

PARTS_OR_SCENARIOS = tuple(dict.fromkeys((*SCENARIOS, *against.PARTS)))
NAMED = tuple(dict.fromkeys((*CONTESTS, *FAMILIES)))
RESULTS = ROOT / "bench" / "results"


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: under 40 s a family")
    parser.add_argument("--only", nargs="+", choices=PARTS_OR_SCENARIOS, default=[], help="run these parts")
    parser.add_argument("--against", metavar="REV", help="measure beside the build of a revision, and hold to bounds")
    parser.add_argument("--targets", nargs="+", choices=NAMES, default=list(NAMES), help="what to compare of routes")
    parser.add_argument("--family", nargs="+", choices=NAMED, default=[], help="whose routes to measure")
    parser.add_argument("--patience", type=float, default=0, help="seconds to wait for a quiet machine, a family")
    parser.add_argument("--json", type=Path, help="where to write the figures (default: bench/results/)")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument(
        "--from", nargs="+", type=Path, dest="files", help="with --write-docs: of these runs, no new one"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a bound is missed")
    return parser.parse_args(arguments)


def say(text: str) -> None:
    """Tell how far it has come, beside the output proper."""
    print(text, file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> list[Row]:
    """Measure and report; return all rows."""
    figures, rows = against.run(options, say) if options.against else beside_a_relay(options)
    path = options.json or RESULTS / time.strftime("%Y%m%d-%H%M%S.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n")
    say(f"figures: {path}")
    if options.write_docs and options.against:
        page.write(figures)
    return rows


def beside_a_relay(options: argparse.Namespace) -> tuple[dict[str, Any], list[Row]]:
    """Measure the service beside a bare relay; return what goes into the file, and the rows of all families."""
    machine, contests = describe(), chosen_contests(options)
    names = list(contests)
    rows: list[Row] = []
    found: dict[str, dict[str, Any]] = {}
    for name, chosen in contests.items():
        say(chosen.title)
        measured = measured_contest(chosen, options)
        own = rows_of(chosen, measured)
        found[name] = as_json(machine, asdict(chosen.plan), measured, own)
        if names != [DEFAULT]:
            print(f"\n{chosen.title}")
        print(render(chosen, machine, own, measured), flush=True)
        rows += own
    return found[DEFAULT] if names == [DEFAULT] else {"families": found}, rows


def chosen_contests(options: argparse.Namespace) -> dict[str, Contest]:
    """Return what to measure, by family."""
    names = dict.fromkeys(options.family or [DEFAULT])
    unknown = [name for name in names if name not in CONTESTS]
    if unknown:
        raise SystemExit(f"{', '.join(unknown)}: measured with --against only")
    found = {name: contest(name, quick=options.quick, wanted=options.targets) for name in names}
    missing = [name for name, chosen in found.items() if not set(options.only) <= set(chosen.plan.jobs)]
    if missing:
        raise SystemExit(f"there is no {' or '.join(options.only)} in this plan of {', '.join(missing)}")
    return found


def measured_contest(chosen: Contest, options: argparse.Namespace) -> Measured:
    """Measure one comparison, with servers of its own: each is to begin with the memory of a new process."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, chosen.staged(Path(folder)) as stage:
        return measure(chosen.plan, options.only, stage, Jobs(stage.servers, options.patience, say))


def main() -> int:
    """Run from the command line."""
    options = parsed(sys.argv[1:])
    if options.files:
        page.write(page.merged([json.loads(path.read_text("utf-8")) for path in options.files]))
        return 0
    # Told to stop, it still stops what it has started.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    raise_open_files()
    rows = run(options)
    return int(options.strict and any(row.passed is False for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
