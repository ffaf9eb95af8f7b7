"""`python -m trial`: try the built service as careless and hostile parties do, and print one table."""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Sequence

from bench.machine import raise_open_files
from trial.case import Case
from trial.cases import CASES
from trial.helper import started
from trial.table import Check, render, summary
from trial.trials import Options, tried

BOUNDS = {"ci": 240.0, "full": 580.0}  # the last case still has to be ended


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m trial", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[case.name for case in CASES], metavar="NAME", help="these cases")
    parser.add_argument("--part", choices=BOUNDS, default="full", help="ci: a selection of a minute or two")
    parser.add_argument("--seed", type=int, default=1, help="what is random goes by it (default: 1)")
    parser.add_argument("--again", type=int, default=0, metavar="N", help="try a case that differs N times more")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    return parser.parse_args(arguments)


def chosen(options: argparse.Namespace) -> list[Case]:
    """Return the cases to try, in their order."""
    if options.only:
        return [case for case in CASES if case.name in options.only]
    return [case for case in CASES if case.in_ci or options.part == "full"]


def listed() -> str:
    """Return the names of the cases, those of the selection marked."""
    widest = max(len(case.name) for case in CASES)
    return "\n".join(f"{case.name.ljust(widest)}  {'ci' if case.in_ci else '  '}  {case.does}" for case in CASES)


async def run(options: argparse.Namespace) -> list[Check]:
    """Try one case after the other, as long as there is time."""
    checks: list[Check] = []
    deadline = time.monotonic() + BOUNDS[options.part]
    async with started("trial.null_server") as control:
        told = Options(options.seed, deadline, int(control.first_line))
        for case in chosen(options):
            begun = time.monotonic()
            if begun > deadline:
                checks.append(Check(case.name, "there is time to try it", "no time was left", False))
                continue
            checks += await at_last(case, told, options.again)
            print(f"{case.name}: {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
    return checks


async def at_last(case: Case, told: Options, again: int) -> list[Check]:
    """Try a case; one that differs so many times more, for a busy machine is felt too. The last try counts."""
    checks = await tried(case, told)
    for number in range(again):
        if all(check.ok for check in checks) or time.monotonic() > told.deadline:
            break
        print(f"{case.name} differs, and is tried again ({number + 1} of {again}):", file=sys.stderr)
        print(render(checks), file=sys.stderr, flush=True)
        checks = await tried(case, told)
    return checks


def main() -> int:
    """Run from the command line."""
    options = parsed(sys.argv[1:])
    if options.list:
        print(listed())
        return 0
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    raise_open_files()
    begun = time.monotonic()
    checks = asyncio.run(run(options))
    print(render(checks))
    print(summary(checks, time.monotonic() - begun))
    return int(not all(check.ok for check in checks))


if __name__ == "__main__":
    raise SystemExit(main())
