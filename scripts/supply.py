"""What the product is made of: a bill of materials, its licences, and whether somebody knows a hole in any of it.

Runs in an environment of its own (`requirements-supply.txt`): cyclonedx-py, pip-licenses and pip-audit do the work.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scripts import supply_console
from scripts.locks import LOCKS, ROOT, pins

OUTPUT = ROOT / "build" / "sbom"
EXCEPTIONS = ROOT / "scripts" / "audit_exceptions.toml"
# What an image holds, by the name of its bill: as it is, with an engine inside, with what traces need.
SHIPPED = {
    "mlops_backend": ("requirements.txt",),
    "mlops_backend-embedded": ("requirements.txt", "requirements-embedded.txt"),
    "mlops_backend-tracing": ("requirements.txt", "requirements-tracing.txt"),
}
ABSENT = "not for this platform"
OWN_TEXT = "its own text"
UNANSWERED = 3


class SupplyError(Exception):
    """Something that has to be put right; the message is for whoever typed make."""


@dataclass(frozen=True)
class Exempted:
    """A hole that is known and borne for a while: its id, why, and the last day of that."""

    id: str
    reason: str
    until: datetime.date


def tool(name: str, *arguments: str, told: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program of this environment."""
    program = Path(sys.executable).parent / name
    return subprocess.run([program, *arguments], input=told, capture_output=True, text=True, check=False, cwd=ROOT)


def locked(names: Iterable[str]) -> str:
    """The entries of several locks, each once; where two name a package they name one version."""
    texts = [(ROOT / name).read_text("utf-8") for name in names]
    entries = [entry for text in texts for entry in re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]]
    return "".join({entry.partition("==")[0]: entry for entry in entries}.values())


def write_bill(name: str, locks: Sequence[str]) -> Path:
    """Write the bill of what these locks name, checked against CycloneDX's own schema."""
    file = OUTPUT / f"{name}.cdx.json"
    options = ("--pyproject=pyproject.toml", "--output-reproducible", "--validate", "--output-format=JSON")
    done = tool("cyclonedx-py", "requirements", *options, f"--output-file={file}", "-", told=locked(locks))
    if done.returncode:
        raise SupplyError(done.stderr.strip())
    listed = [(part["name"], part["version"]) for part in json.loads(file.read_text("utf-8"))["components"]]
    if sorted(listed) != sorted(pins(locked(locks)).items()):
        raise SupplyError(f"{file.name} is not what {', '.join(locks)} name")
    try:
        supply_console.add_to(file)
    except ValueError as error:
        raise SupplyError(str(error)) from None
    return file


def licences(python: str) -> dict[str, str]:
    """The licence of each package that this interpreter has, as its own metadata tells it."""
    done = tool("pip-licenses", f"--python={python}", "--from=mixed", "--format=json", "--with-system")
    if done.returncode:
        raise SupplyError(done.stderr.strip())
    return {normalised(entry["Name"]): entry["License"] for entry in json.loads(done.stdout)}


def normalised(name: str) -> str:
    """A package's name as locks write it."""
    return name.lower().replace("_", "-").replace(".", "-")


def licence_list(pinned: Mapping[str, str], told: Mapping[str, str]) -> str:
    """A table of packages, versions and licences.

    Raises:
        SupplyError: a package tells no licence, so somebody has to look.
    """
    rows = ["| package | version | licence |", "|---|---|---|"]
    for name, version in sorted(pinned.items()):
        licence = told.get(normalised(name), ABSENT)
        if licence == "UNKNOWN":
            raise SupplyError(f"{name} {version} tells no licence")
        rows.append(f"| {name} | {version} | {OWN_TEXT if chr(10) in licence else licence} |")
    return "\n".join(rows) + "\n"


def make_bills(python: str) -> None:
    """Write the bills, and one list of licences."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    made = [write_bill(name, locks) for name, locks in SHIPPED.items()]
    made.append(OUTPUT / "licences.md")
    every = pins(locked(dict.fromkeys(name for names in SHIPPED.values() for name in names)))
    every |= supply_console.versions()
    made[-1].write_text(licence_list(every, {**licences(python), **supply_console.licences()}), "utf-8")
    for file in made:
        print(file.relative_to(ROOT))


def exceptions(text: str, today: datetime.date) -> dict[str, Exempted]:
    """Read the list of holes that are borne.

    Raises:
        SupplyError: an entry is over, or lacks its reason.
    """
    found = {}
    for entry in tomllib.loads(text).get("exception", []):
        one = Exempted(entry["id"], entry.get("reason", "").strip(), entry["until"])
        if not one.reason:
            raise SupplyError(f"{one.id} has no reason")
        if one.until < today:
            raise SupplyError(f"{one.id} was borne until {one.until}: mend it, or say for how long and why")
        found[one.id] = one
    return found


@dataclass(frozen=True)
class Verdict:
    """What a report of pip-audit comes to: holes by package, exceptions that nothing needs, what nobody told."""

    holes: tuple[str, ...]
    idle: frozenset[str]
    unanswered: tuple[str, ...]


def judge(report: Mapping[str, Any], borne: Mapping[str, Exempted]) -> Verdict:
    """Set a report against the exceptions; a hole is known by its id or by any of its other names."""
    holes, used = [], set()
    for package in report["dependencies"]:
        for hole in package.get("vulns", ()):
            names = {hole["id"], *hole.get("aliases", ())}
            used |= names & borne.keys()
            if not names & borne.keys():
                mended = ", ".join(hole["fix_versions"]) or "no release"
                holes.append(f"{package['name']} {package['version']}: {hole['id']}, mended by {mended}")
    unanswered = tuple(package["name"] for package in report["dependencies"] if "skip_reason" in package)
    return Verdict(tuple(holes), frozenset(borne.keys() - used), unanswered)


def asked(requirements: str, options: Sequence[str]) -> Mapping[str, Any] | str:
    """What pip-audit reports of a lock, or the last thing it said if it could not."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "locked.txt"
        file.write_text(requirements, "utf-8")
        fixed = ("--disable-pip", "--no-deps", "--progress-spinner=off", "--format=json", f"--requirement={file}")
        done = tool("pip-audit", *fixed, *options)
    try:
        report: Mapping[str, Any] = json.loads(done.stdout)
    except ValueError:
        return (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
    return report


def python_packages(options: Sequence[str]) -> list[Mapping[str, Any]] | str:
    """What is told of all that the locks name, of the first package alone before; or a sentence: why nothing is."""
    pinned = [f"{name}=={version}\n" for name, version in sorted(pins(locked(lock.name for lock in LOCKS)).items())]
    for requirements in (pinned[:1], pinned):
        report = asked("".join(requirements), options)
        if isinstance(report, str):
            return report
        told: list[Mapping[str, Any]] = report["dependencies"]
        if all("skip_reason" in package for package in told):
            return str(told[0]["skip_reason"])
    return told


def audit(options: Sequence[str], today: datetime.date) -> int:
    """Ask for the holes in all that the locks name, npm's too; return the exit status."""
    borne = exceptions(EXCEPTIONS.read_text("utf-8"), today)
    packages, libraries = python_packages(options), supply_console.asked()
    if isinstance(packages, str):
        print("NOT AUDITED: nobody here tells advisories. pip-audit asks the package index for its JSON, which")
        print(f"a mirror may not have, or OSV: make audit ARGS='--vulnerability-service=osv'.\n{packages}")
    if isinstance(libraries, str):
        print("NOT AUDITED: the console's libraries. npm asks its registry, which may be a mirror without advisories.")
        print(libraries)
    answers = [answer for answer in (packages, libraries) if not isinstance(answer, str)]
    return conclude(answers, borne, of=2)


def conclude(answers: Sequence[Sequence[Mapping[str, Any]]], borne: Mapping[str, Exempted], of: int) -> int:
    """Tell what came; the status says whether something is to be done, or else whether somebody did not answer."""
    if not answers:
        return UNANSWERED
    every = [package for answer in answers for package in answer]
    verdict = judge({"dependencies": every}, borne)
    if len(answers) < of:
        # An exception may be for what nobody told of.
        verdict = replace(verdict, idle=frozenset())
    return tell(verdict, len(every)) or (UNANSWERED if len(answers) < of else 0)


def tell(verdict: Verdict, count: int) -> int:
    """Print a verdict; the status is 0 if nothing is to be done."""
    lines = [f"Hole: {hole}" for hole in verdict.holes]
    lines += [f"No longer needed in {EXCEPTIONS.name}: {name}" for name in sorted(verdict.idle)]
    lines += [f"Not audited: {name}" for name in verdict.unanswered]
    for line in lines:
        print(line)
    print(f"{count - len(verdict.unanswered)} of {count} packages audited, {len(verdict.holes)} holes.")
    return 1 if lines else 0


def main() -> int:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    bills = commands.add_parser("sbom", help=f"write bills and licences to {OUTPUT.relative_to(ROOT)}")
    bills.add_argument("python", help="an interpreter that has the locked packages, for their licences")
    holes = commands.add_parser("audit", help=f"status 1 if there are holes, {UNANSWERED} if nobody tells")
    holes.add_argument("--where-possible", action="store_true", help="status 0 if nobody tells")
    arguments, options = parser.parse_known_args()
    try:
        if arguments.command == "sbom":
            make_bills(arguments.python)
            return 0
        status = audit(options, datetime.datetime.now(tz=datetime.UTC).date())
    except SupplyError as error:
        print(error)
        return 1
    return 0 if status == UNANSWERED and arguments.where_possible else status


if __name__ == "__main__":
    sys.exit(main())
