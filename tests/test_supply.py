"""What `make audit` and `make sbom` make of what their programs tell; those are not in this environment."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any

import pytest

from scripts import locks, supply
from tests.e2e.processes import REPOSITORY

TODAY = datetime.date(2026, 12, 1)
ENTRY = '[[exception]]\nid = "GHSA-1"\nreason = "never called"\nuntil = 2026-12-01\n'
HOLE = {"id": "CVE-1", "aliases": ["GHSA-1"], "fix_versions": ["1.1"], "description": "long"}


def report(*holes: Mapping[str, Any]) -> Mapping[str, Any]:
    """A report as pip-audit writes it: one package with these holes, and one without."""
    sound = {"name": "sound", "version": "2", "vulns": []}
    return {"dependencies": [{"name": "leaky", "version": "1.0", "vulns": list(holes)}, sound], "fixes": []}


def test_no_exception_is_over() -> None:
    """Each hole that is borne has its reason, and is borne until some later day."""
    supply.exceptions(supply.EXCEPTIONS.read_text("utf-8"), datetime.datetime.now(tz=datetime.UTC).date())


def test_the_files_own_example_is_one() -> None:
    """What stands in the file as an example can be used as it stands there."""
    example = re.sub(r"^# ?", "", supply.EXCEPTIONS.read_text("utf-8"), flags=re.MULTILINE).partition("\n\n")[2]
    (one,) = supply.exceptions(example, TODAY).values()
    assert one.until > TODAY


def test_an_exception_holds_until_its_day() -> None:
    """The last day counts; the day after ends with its id and its day."""
    assert supply.exceptions(ENTRY, TODAY).keys() == {"GHSA-1"}
    with pytest.raises(supply.SupplyError, match="GHSA-1 was borne until 2026-12-01"):
        supply.exceptions(ENTRY, TODAY + datetime.timedelta(days=1))


def test_an_exception_has_a_reason() -> None:
    """Without a reason there is no exception."""
    with pytest.raises(supply.SupplyError, match="GHSA-1 has no reason"):
        supply.exceptions(ENTRY.replace("never called", " "), TODAY)


def test_a_hole_is_told_with_what_mends_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A hole fails the audit, and the line names the package, the hole and the release without it."""
    assert supply.tell(supply.judge(report(HOLE), {}), 2) == 1
    assert capsys.readouterr().out == "Hole: leaky 1.0: CVE-1, mended by 1.1\n2 of 2 packages audited, 1 holes.\n"


def test_a_hole_that_nobody_mended_is_told() -> None:
    """Where there is no release without it, the line says so."""
    (told,) = supply.judge(report({**HOLE, "fix_versions": []}), {}).holes
    assert told == "leaky 1.0: CVE-1, mended by no release"


@pytest.mark.parametrize("name", ["CVE-1", "GHSA-1"])
def test_a_hole_is_borne_by_any_of_its_names(name: str) -> None:
    """An exception may use whichever name of a hole; others of the package still count."""
    borne = supply.exceptions(ENTRY.replace("GHSA-1", name), TODAY)
    assert supply.tell(supply.judge(report(HOLE), borne), 2) == 0
    assert len(supply.judge(report(HOLE, {**HOLE, "id": "CVE-2", "aliases": []}), borne).holes) == 1


def test_an_exception_that_nothing_needs_has_to_go(capsys: pytest.CaptureFixture[str]) -> None:
    """What is mended is no longer borne: the list stays as short as the truth."""
    assert supply.tell(supply.judge(report(), supply.exceptions(ENTRY, TODAY)), 2) == 1
    assert "No longer needed in audit_exceptions.toml: GHSA-1" in capsys.readouterr().out


def test_what_nobody_told_is_not_sound(capsys: pytest.CaptureFixture[str]) -> None:
    """A package that was passed over is no package without holes."""
    passed_over = {"name": "unknown", "skip_reason": "Dependency not found on PyPI and could not be audited"}
    verdict = supply.judge({"dependencies": [*report()["dependencies"], passed_over]}, {})
    assert supply.tell(verdict, 3) == 1
    assert "Not audited: unknown\n2 of 3 packages audited" in capsys.readouterr().out


def test_licences_are_listed() -> None:
    """Each locked package has a row; a whole text is named and not shown, and what is for another platform says so."""
    pinned = {"b-c": "2", "a": "1", "d": "3"}
    rows = supply.licence_list(pinned, {"a": "MIT", "b-c": "Copyright\nsomebody"}).splitlines()[2:]
    assert rows == ["| a | 1 | MIT |", "| b-c | 2 | its own text |", "| d | 3 | not for this platform |"]


def test_a_package_without_a_licence_is_looked_at() -> None:
    """A package that tells no licence ends the list with its name."""
    with pytest.raises(supply.SupplyError, match="a 1 tells no licence"):
        supply.licence_list({"a": "1"}, {"a": "UNKNOWN"})


def test_bills_are_of_what_images_hold() -> None:
    """Each lock that the Dockerfile installs is in a bill: the first in all of them, and each further one with it."""
    installed = re.findall(r"-r (requirements[\w-]*\.txt)", (REPOSITORY / "Dockerfile").read_text("utf-8"))
    always, *chosen = installed
    assert set(supply.SHIPPED.values()) == {(always,), *((always, lock) for lock in chosen)}


def test_a_package_of_two_locks_is_one() -> None:
    """What two locks of one image name stands once among the parts of a bill."""
    text = supply.locked(supply.SHIPPED["mlops_backend-tracing"])
    names = re.findall(r"^([\w.-]+)==", text, re.MULTILINE)
    assert len(names) == len(set(names))
    assert {"quart", "certifi"} <= set(names)
    assert re.search(r"^certifi==.*\n    --hash=", text, re.MULTILINE)


def test_locks_agree() -> None:
    """A package has one version in all locks, so that one question tells of all."""
    versions: dict[str, set[str]] = {}
    for lock in locks.LOCKS:
        for name, version in locks.pins((REPOSITORY / lock.name).read_text("utf-8")).items():
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}
