"""Break the code in small ways, one at a time, and look whether a test notices: `make mutate`.

    make mutate                               60 mutants of the files that the last commit and the working tree changed
    make mutate ARGS='--changed main'         of those changed since a revision
    make mutate ARGS='--sample 200 --seed 7'  of the whole product
    make mutate ARGS=--again                  what survived the last time without a reason
    make mutate ARGS='--files mlops_backend/errors/ --sample 1000'

Each mutant meets only the tests that run its lines, the quickest first. One that none notices is printed: write a test,
delete the code, or say in `tests/mutation/explained.toml` why it does the same. The working tree is left alone.
"""

from __future__ import annotations

import argparse
import fcntl
import filecmp
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path

from tests.mutation.children import import_libraries, run_pytest
from tests.mutation.explained import Explained, explained, slower
from tests.mutation.mutants import Mutant, mutants_of, sample
from tests.mutation.record import Record, RecordError

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "mutation"
COPY = FOLDER / "copy"
LIST = "tests/mutation/explained.toml"
LAST = FOLDER / "last.json"
# How many tests a mutant meets, and their share of the time of all: later ones seldom notice what so many did not.
MOST_TESTS = 150
SHARE = 0.05
# One test that hangs ends the run, and so does the run's whole time.
ONE_TEST = 60
LONGEST = 300.0
LONGEST_OF_SLOWER = 900.0
ANOTHER_TIME = 10**12
UNTIL_ONE_FAILS = (
    "-x",
    "--hypothesis-seed=1",
    *("-o", f"faulthandler_timeout={ONE_TEST}"),
    *("-o", "faulthandler_exit_on_timeout=true"),
)

NOTICED, SLOWER, UNNOTICED, UNREACHED = "noticed", "noticed by slower tests", "not noticed", "reached by no test"


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant."""

    mutant: Mutant
    kind: str
    by: str
    seconds: float
    why: str = ""

    @property
    def survived(self) -> bool:
        """Whether no test noticed it."""
        return self.kind in (UNNOTICED, UNREACHED)


def copy_tree() -> None:
    """Copy what git knows or would add; all breaking and testing happens there.

    What has not changed stays, and with it what Python compiled of it: that is half of a run's time.
    """
    names = [name for name in git("ls-files", "--cached", "--others", "--exclude-standard") if (ROOT / name).is_file()]
    for name in names:
        source, target = ROOT / name, COPY / name
        if not target.is_file() or not filecmp.cmp(source, target):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    for path in COPY.rglob("*.py"):
        if str(path.relative_to(COPY)) not in names:
            path.unlink()


def git(*arguments: str) -> list[str]:
    """Ask git for lines."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def chosen_files(arguments: argparse.Namespace) -> list[str]:
    """Name the product's files that are to be broken."""
    everything = sorted(str(path.relative_to(COPY)) for path in (COPY / "mlops_backend").rglob("*.py"))
    if arguments.files:
        return [name for name in everything if name.startswith(tuple(arguments.files))]
    if arguments.sample is None or arguments.changed:
        new = git("ls-files", "--others", "--exclude-standard")
        changed = {*git("diff", "--name-only", arguments.changed or "HEAD~1"), *new}
        return [name for name in everything if name in changed]
    return everything


def try_mutant(mutant: Mutant, record: Record) -> Outcome:
    """Break the copy, run what runs these lines, mend the copy."""
    begun = time.monotonic()
    path = COPY / mutant.file
    source, times = path.read_text("utf-8"), path.stat()
    path.write_text(mutant.code, "utf-8")
    # What was compiled of the file has its time: it must not be taken for this one's, and be right again afterwards.
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + ANOTHER_TIME))
    try:
        kind, by = judge(mutant, record)
    finally:
        path.write_text(source, "utf-8")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return Outcome(mutant, kind, by, time.monotonic() - begun)


def judge(mutant: Mutant, record: Record) -> tuple[str, str]:
    """Run a mutant's tests, then the slower ones that its file has; tell which noticed it."""
    tests = affordable(record.tests_of(mutant.file, mutant.lines), record)
    if tests and (by := noticed_by(tests, LONGEST)):
        return NOTICED, by
    later = slower(COPY / LIST).get(mutant.file, [])
    if later and (by := noticed_by(later, LONGEST_OF_SLOWER)):
        return SLOWER, by
    return (UNNOTICED, f"{len(tests)} tests passed") if tests or later else (UNREACHED, "")


def affordable(tests: Sequence[str], record: Record) -> list[str]:
    """Take the quickest tests, as many as the time allows."""
    taken: list[str] = []
    left = SHARE * sum(record.known.seconds.values())
    for test in tests[:MOST_TESTS]:
        left -= record.known.seconds[test]
        if left < 0 and taken:
            break
        taken.append(test)
    return taken


def noticed_by(tests: Sequence[str], limit: float) -> str:
    """Run tests until one fails; name it, or say how else the run ended. Empty if all passed."""
    names = FOLDER / "tests.txt"
    names.write_text("\n".join(tests), "utf-8")
    output = FOLDER / "output.txt"
    once = (
        "-x",
        "--hypothesis-seed=1",
        "-o",
        f"faulthandler_timeout={ONE_TEST}",
        "-o",
        "faulthandler_exit_on_timeout=true",
    )
    status = run_pytest(COPY, output, [*once, f"@{names}"], limit)
    if status == 0:
        return ""
    if status is None:
        return "took too long"
    failed = [
        line
        for line in output.read_text("utf-8", "replace").splitlines()
        if line.startswith(("FAILED tests/", "ERROR tests/"))
    ]
    return failed[0].partition(" - ")[0] if failed else f"pytest ended with {status}"


def explain(outcome: Outcome, entries: Iterable[Explained]) -> Outcome:
    """Give a survivor the reason that the list has for it."""
    if not outcome.survived:
        return outcome
    reasons = {entry.change: entry.reason for entry in entries}
    return replace(outcome, why=reasons.get(astuple(outcome.mutant.change), ""))


def unknown_entries(entries: Sequence[Explained]) -> list[str]:
    """Name the entries of the list whose mutant no operator makes any more."""
    lost = []
    for file in sorted({entry.file for entry in entries if (ROOT / entry.file).is_file()}):
        functions = {entry.function for entry in entries if entry.file == file}
        made = {astuple(mutant.change) for mutant in mutants_of(ROOT, file) if mutant.function in functions}
        lost += [str(entry.change) for entry in entries if entry.file == file and entry.change not in made]
    return lost + [str(entry.change) for entry in entries if not (ROOT / entry.file).is_file()]


def report(outcomes: Sequence[Outcome], seconds: float) -> None:
    """Print the survivors, and how many of each kind there were."""
    for outcome in outcomes:
        if outcome.survived:
            say(f"\n{outcome.kind}: {outcome.mutant}\n  {outcome.why or 'no reason is listed'}")
    counts = Counter(outcome.kind for outcome in outcomes)
    survivors = [outcome for outcome in outcomes if outcome.survived]
    explained_ones = sum(1 for outcome in survivors if outcome.why)
    say(f"\n{len(outcomes)} mutants in {seconds:.0f} s: " + ", ".join(f"{n} {kind}" for kind, n in counts.items()))
    say(f"{len(survivors)} survived, {explained_ones} with a reason in tests/mutation/explained.toml")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changed", nargs="?", const="HEAD~1", metavar="REVISION", help="the files changed since then")
    parser.add_argument("--files", nargs="+", metavar="PREFIX", help="the files whose path begins so")
    parser.add_argument("--sample", type=int, metavar="N", help="how many mutants; of the whole product if alone")
    parser.add_argument("--seed", type=int, default=1, help="which mutants; the same ones for the same code")
    parser.add_argument("--skip", type=int, default=0, metavar="N", help="leave out the first N, to go on after a stop")
    parser.add_argument("--list", action="store_true", help="print the mutants that would be tried, and try none")
    parser.add_argument(
        "--check-list", action="store_true", help="only look whether every entry's mutant is still made"
    )
    parser.add_argument("--again", action="store_true", help="what survived without a reason the last time")
    return parser.parse_args(arguments)


def main() -> int:
    """Try mutants; the status is 1 if one survived without a reason, or an entry of the list is out of date."""
    arguments = parse(None)
    entries = explained(ROOT / LIST)
    if lost := unknown_entries(entries):
        say("No operator makes these mutants of explained.toml any more:\n" + "\n".join(lost))
    if arguments.check_list:
        return 1 if lost else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run's copy is broken just now
        copy_tree()
        return run(arguments, entries) or (1 if lost else 0)


def run(arguments: argparse.Namespace, entries: Sequence[Explained]) -> int:
    """Try what the command line asks for; tell whether something survived without a reason."""
    mutants = chosen_mutants(arguments, chosen_files(arguments))
    if arguments.list:
        say("\n\n".join(map(str, mutants)))
        return 0
    try:
        outcomes = try_all(mutants, entries)
    except RecordError as error:
        say(str(error))
        return 1
    return 1 if any(outcome.survived and not outcome.why for outcome in outcomes) else 0


def chosen_mutants(arguments: argparse.Namespace, files: Sequence[str]) -> list[Mutant]:
    """Take the mutants that the command line asks for."""
    if arguments.again:
        return survivors_of_last_time()
    everyone = [mutant for file in files for mutant in mutants_of(COPY, file)]
    return sample(everyone, arguments.sample or 60, arguments.seed)[arguments.skip :]


def survivors_of_last_time() -> list[Mutant]:
    """Take what survived without a reason, wherever its lines are now."""
    survived = [told for told in json.loads(LAST.read_text("utf-8")) if told["survived"] and not told["why"]]
    wanted = {(told["file"], told["function"], told["before"], told["after"]) for told in survived}
    likely = {(told["file"], told["operator"], told["function"]) for told in survived}
    made = [mutant for file in sorted({told["file"] for told in survived}) for mutant in mutants_of(COPY, file)]
    again = [mutant for mutant in made if (mutant.file, mutant.operator, mutant.function) in likely]
    return list({astuple(mutant.change): mutant for mutant in again if astuple(mutant.change) in wanted}.values())


def try_all(mutants: Sequence[Mutant], entries: Sequence[Explained]) -> list[Outcome]:
    """Try one after the other; what became of each is kept after each."""
    import_libraries(COPY)
    record = Record(COPY, FOLDER)
    record.refresh(say)
    begun = time.monotonic()
    outcomes: list[Outcome] = []
    for number, mutant in enumerate(mutants, 1):
        outcome = explain(try_mutant(mutant, record), entries)
        outcomes.append(outcome)
        LAST.write_text(json.dumps([as_json(each) for each in outcomes], indent=1), "utf-8")
        where = f"{mutant.file}:{mutant.lines[0]} {mutant.operator}"
        say(f"{number}/{len(mutants)} {outcome.seconds:.1f} s {outcome.kind}: {where} {outcome.by}")
    report(outcomes, time.monotonic() - begun)
    return outcomes


def as_json(outcome: Outcome) -> dict[str, object]:
    """Tell one outcome to other programs."""
    return {
        "survived": outcome.survived,
        "kind": outcome.kind,
        "by": outcome.by,
        "seconds": round(outcome.seconds, 1),
        "why": outcome.why,
        "line": outcome.mutant.lines[0],
        "operator": outcome.mutant.operator,
        **asdict(outcome.mutant.change),
    }


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
