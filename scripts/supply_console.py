"""The console's libraries in the bill of materials, its licences and the question for holes: what npm's lock tells."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.console_libraries import LIBRARIES, LOCK, Unobtainable, npm

AUDIT = ("audit", "--audit=true", "--json", "--package-lock-only", "--omit=optional", "--fetch-retries=1")
LONGEST = 60.0


def packages() -> dict[str, Mapping[str, Any]]:
    """What the lock says of each library that is taken, by its name."""
    entries = json.loads(LOCK.read_text("utf-8"))["packages"]
    return {library.package: entries[f"node_modules/{library.package}"] for library in LIBRARIES}


def component(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """A library as a part of a bill."""
    algorithm, _, digest = entry["integrity"].partition("-")
    licence = entry["license"].strip("()")
    alternatives = " " in licence
    return {
        "bom-ref": f"npm-{name}",
        "type": "library",
        "name": name,
        "version": entry["version"],
        "purl": f"pkg:npm/{name}@{entry['version']}",
        "hashes": [{"alg": f"SHA-{algorithm.removeprefix('sha')}", "content": base64.b64decode(digest).hex()}],
        "licenses": [{"expression": licence}] if alternatives else [{"license": {"id": licence}}],
    }


def add_to(bill: Path) -> None:
    """Write the libraries into a bill, and hold it against CycloneDX's own schema again.

    Raises:
        ValueError: it is no bill any more.
    """
    content = json.loads(bill.read_text("utf-8"))
    content["components"] += [component(name, entry) for name, entry in packages().items()]
    content["dependencies"] += [{"ref": f"npm-{name}"} for name in packages()]
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    if complaint := invalid(text):
        raise ValueError(f"{bill.name}: {complaint}")
    bill.write_text(text, "utf-8")


def invalid(text: str) -> str:
    """What CycloneDX's schema says against a bill; asked in this environment, where its library is."""
    code = (
        "import sys; from cyclonedx.schema import SchemaVersion; from cyclonedx.validation.json import "
        "JsonStrictValidator as V; print(V(SchemaVersion.V1_6).validate_str(sys.stdin.read()) or '')"
    )
    done = subprocess.run([sys.executable, "-c", code], input=text, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def licences() -> dict[str, str]:
    """The licence of each library."""
    return {name: entry["license"] for name, entry in packages().items()}


def versions() -> dict[str, str]:
    """The version of each library."""
    return {name: entry["version"] for name, entry in packages().items()}


def asked() -> list[Mapping[str, Any]] | str:
    """Each library with its holes, or a sentence: why nobody tells."""
    try:
        with tempfile.TemporaryDirectory() as folder, npm() as command:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(LOCK.parent / name, folder)
            report = answered([*command, *AUDIT], folder)
    except (Unobtainable, OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return report if isinstance(report, str) else as_packages(report)


def answered(command: Sequence[str], folder: str) -> Mapping[str, Any] | str:
    """Run npm's audit; its report, or its complaint."""
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST, check=False
    )
    try:
        report: Mapping[str, Any] = json.loads(done.stdout)
    except ValueError:
        return (done.stderr.strip().splitlines() or ["npm said nothing"])[0]
    return report if "vulnerabilities" in report else str(report.get("message", "npm told no report"))


def as_packages(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """npm's report as pip-audit would tell it: each library with its holes."""
    told: Mapping[str, Any] = report["vulnerabilities"]
    return [
        {"name": name, "version": version, "vulns": holes(told[name]) if name in told else []}
        for name, version in versions().items()
    ]


def holes(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The holes of one library; one that comes by another package has that package's name for its own."""
    mended = [entry["fixAvailable"]["version"]] if isinstance(entry.get("fixAvailable"), dict) else []
    found = (via if isinstance(via, dict) else {"url": via} for via in entry["via"])
    return [{"id": via["url"].rpartition("/")[2], "aliases": [], "fix_versions": mended} for via in found]
