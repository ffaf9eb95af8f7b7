"""The console's libraries at install time, by an npm that is a small program of ours."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlops_backend.services.other.console import Files
from scripts import console_libraries, make_env, supply, supply_console
from tests.e2e.processes import REPOSITORY

PACKAGE: dict[str, Any] = json.loads((console_libraries.CONSOLE / "package.json").read_text("utf-8"))
ENTRIES: dict[str, Any] = json.loads(console_libraries.LOCK.read_text("utf-8"))["packages"]
# Writes down how it was called, and fills node_modules with what each library is taken of.
GOOD = """
import json, pathlib, sys
if sys.argv[1] == "--version":
    print("10.1.0"); sys.exit()
pathlib.Path(CALLS).open("a").write(json.dumps(sys.argv[1:]) + "\\n")
lock = json.loads(pathlib.Path("package-lock.json").read_text())["packages"]
for package, files in json.loads(FILES).items():
    folder = pathlib.Path("node_modules", package)
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("// " + name + "\\n//# sourceMappingURL=" + name + ".map\\n")
    entry = lock["node_modules/" + package]
    (folder / "package.json").write_text(json.dumps({"version": entry["version"], "license": entry["license"]}))
"""
# The same, as if a package had lost a file.
PARTIAL = GOOD.replace("for name in files:", "for name in files[:1]:")
BROKEN = """
import sys
if sys.argv[1] == "--version":
    print("10.1.0"); sys.exit()
print("npm error code ECONNREFUSED\\nnpm error network request failed, reason: nobody listens", file=sys.stderr)
sys.exit(1)
"""
OLD = "print('6.14.4')"


@pytest.fixture(name="environment")
def _environment(tmp_path: Path) -> Path:
    """A folder that stands for an environment."""
    folder = tmp_path / "venv"
    folder.mkdir()
    return folder


def install_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> Path:
    """Make `program` the only npm on PATH; gives the file in which it notes how it was called."""
    folder, calls = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir(exist_ok=True)
    calls.touch()
    files = json.dumps({one.package: [name for name, _ in one.files] for one in console_libraries.LIBRARIES})
    (folder / "npm.py").write_text(program.replace("CALLS", repr(str(calls))).replace("FILES", repr(files)))
    (folder / "npm").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{folder}/npm.py" "$@"\n')
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return calls


def test_npm_installs_what_the_lock_names_and_runs_none_of_it(
    tmp_path: Path, environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """npm is called once, by its lock, without scripts; files, licences and a list are where the service looks."""
    calls = install_npm(tmp_path, monkeypatch, GOOD)
    assert console_libraries.main([str(environment)]) == 0
    (call,) = [json.loads(line) for line in calls.read_text().splitlines()]
    assert {"ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=optional"} <= set(call)
    vendor = environment / "share" / "mlops_backend" / "console" / "vendor"
    assert {"marked.esm.js", "purify.js", "uplot.js", "uplot.css"} <= {path.name for path in vendor.iterdir()}
    listed = json.loads((vendor / "libraries.json").read_text())
    assert {one["name"]: one["version"] for one in listed} == PACKAGE["dependencies"]
    assert {name for one in listed for name in one["files"]} | {"libraries.json"} == {
        path.name for path in vendor.iterdir()
    }
    assert all(any("LICENSE" in name for name in one["files"]) and one["license"] for one in listed)
    assert (vendor / "uplot.js").read_text() == "// dist/uPlot.esm.js\n"


def test_the_page_names_what_was_installed(tmp_path: Path, environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's scripts are told the files by their whole names, and without any where there are none."""
    install_npm(tmp_path, monkeypatch, GOOD)
    without = Files(libraries=environment / console_libraries.VENDOR)
    console_libraries.main([str(environment)])
    files = Files(libraries=environment / console_libraries.VENDOR)
    named = b'content="marked.esm.js purify.js uplot.css uplot.js"'
    assert (named in files.index.content, named in without.index.content) == (True, False)
    assert b'name="libraries" content=""' in without.index.content
    assert all(files.find(f"vendor/{name}") for name in files.libraries)


def test_a_second_call_does_nothing(
    tmp_path: Path, environment: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was made from today's lock is left alone, without a word; another lock is followed."""
    calls = install_npm(tmp_path, monkeypatch, GOOD)
    console_libraries.main([str(environment)])
    capsys.readouterr()
    console_libraries.main([str(environment)])
    assert (capsys.readouterr().out, len(calls.read_text().splitlines())) == ("", 1)
    (environment / console_libraries.STAMP).write_text("of another lock")
    console_libraries.main([str(environment)])
    assert len(calls.read_text().splitlines()) == 2


def test_without_them_the_install_goes_on(
    tmp_path: Path, environment: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where npm fails, two lines say why, what is lost and how to try again; it fails nothing, and is not repeated."""
    install_npm(tmp_path, monkeypatch, BROKEN)
    assert console_libraries.main([str(environment)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Installing the console's libraries",
        "Warning: the console's libraries could not be installed (network request failed, reason: nobody listens), "
        "so replies are shown as plain text, and tables in the place of charts.",
        "To try again: make console",
    ]
    assert console_libraries.main([str(environment)]) == 0
    assert capsys.readouterr().out == ""
    assert console_libraries.main(["--again", str(environment)]) == 1
    install_npm(tmp_path, monkeypatch, GOOD)
    assert console_libraries.main(["--again", str(environment)]) == 0
    assert (environment / console_libraries.VENDOR / "uplot.js").exists()


def test_a_failure_is_forgotten_after_a_while(
    tmp_path: Path, environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour later make tries again by itself."""
    install_npm(tmp_path, monkeypatch, BROKEN)
    console_libraries.main([str(environment)])
    assert not console_libraries.stale(environment)
    failed = environment / console_libraries.FAILED
    before = failed.stat().st_mtime - console_libraries.PATIENCE - 1
    os.utime(failed, (before, before))
    assert console_libraries.stale(environment)


@pytest.mark.parametrize("program", [PARTIAL, BROKEN])
def test_what_was_there_stays_when_a_new_version_cannot_be_had(
    tmp_path: Path, environment: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """A failed refresh takes nothing away, and leaves nothing half-made."""
    install_npm(tmp_path, monkeypatch, GOOD)
    console_libraries.main([str(environment)])
    (environment / console_libraries.STAMP).write_text("of another lock")
    install_npm(tmp_path, monkeypatch, program)
    console_libraries.main([str(environment)])
    vendor = environment / console_libraries.VENDOR
    assert (vendor / "uplot.js").exists()
    assert [path.name for path in vendor.parent.iterdir()] == ["vendor"]


@pytest.mark.parametrize("program", [OLD, None])
def test_without_an_npm_that_will_do_it_comes_with_node_in_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None
) -> None:
    """An npm that cannot read the lock counts as none; the tests' environment has another, which runs."""
    if program:
        install_npm(tmp_path, monkeypatch, program)
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
    with console_libraries.npm() as command:
        assert Path(command[0]).is_relative_to(sys.prefix)
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert int(done.stdout.partition(".")[0]) >= console_libraries.OLDEST_NPM


def test_npm_of_the_lock_is_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this environment has none either, pip puts it into a folder that goes with the block."""
    commands: list[list[str]] = []
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(console_libraries, "run", lambda command, *_: commands.append(list(command)))
    with console_libraries.npm() as command:
        folder = Path(command[0]).parents[2]
        assert folder.is_dir()
    assert not folder.exists()
    (pip,) = commands
    assert {"--require-hashes", "--target", str(folder), str(console_libraries.NPM_LOCK)} <= set(pip)


def test_make_gets_them_beside_the_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """An environment that is made with --console has them; one without that word never asks npm."""
    calls = install_npm(tmp_path, monkeypatch, GOOD)
    environment = make_env.Environment(tmp_path / "venv")
    environment.python.parent.mkdir(parents=True)
    environment.python.symlink_to(sys.executable)
    monkeypatch.setattr(environment, "create_if_needed", lambda: None)
    environment.ensure([], [])
    assert calls.read_text() == ""
    environment.ensure([], [], console=True)
    assert (tmp_path / "venv" / console_libraries.VENDOR / "libraries.json").exists()
    assert capfd.readouterr().out == "Installing the console's libraries\n"


def test_every_make_that_installs_the_service_gets_them() -> None:
    """`make install` and `make install-dev` say so."""
    recipes = re.findall(r"^(install[\w-]*):.*\n\t(.*)$", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert {name for name, recipe in recipes if recipe.endswith("--console")} == {"install", "install-dev"}


def test_the_lock_names_no_place_and_has_a_hash_for_each() -> None:
    """npm's lock pins what package.json names exactly, each with its SHA-512, and no address of any registry."""
    named = {name: entry for name, entry in ENTRIES.items() if name}
    assert ENTRIES[""]["dependencies"] == PACKAGE["dependencies"]
    assert {name: named[f"node_modules/{name}"]["version"] for name in PACKAGE["dependencies"]} == PACKAGE[
        "dependencies"
    ]
    assert set(PACKAGE["dependencies"]) == {one.package for one in console_libraries.LIBRARIES}
    for entry in named.values():
        assert re.fullmatch(r"sha512-[\w+/]{86}==", entry["integrity"])
        assert "resolved" not in entry
    assert "://" not in console_libraries.LOCK.read_text("utf-8")


def test_no_library_needs_another() -> None:
    """What is installed is what package.json names: none has dependencies that must be there, or runs a script."""
    required = {name for name, entry in ENTRIES.items() if name and not entry.get("optional")}
    assert required == {f"node_modules/{name}" for name in PACKAGE["dependencies"]}
    assert not any("hasInstallScript" in entry for entry in ENTRIES.values())


def test_bills_have_them_with_hash_and_licence() -> None:
    """A part of a bill has npm's name for it, its hash in hexadecimal and its licence as SPDX writes it."""
    entry = supply_console.packages()["marked"]
    part = supply_console.component("marked", entry)
    assert part["purl"] == f"pkg:npm/marked@{PACKAGE['dependencies']['marked']}"
    assert base64.b64encode(bytes.fromhex(part["hashes"][0]["content"])).decode() in entry["integrity"]
    assert part["licenses"] == [{"license": {"id": "MIT"}}]
    (either,) = supply_console.component("dompurify", supply_console.packages()["dompurify"])["licenses"]
    assert either == {"expression": "MPL-2.0 OR Apache-2.0"}
    assert set(supply_console.licences()) == set(PACKAGE["dependencies"])


def test_a_hole_that_npm_tells_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """npm's advisories are told as those of Python's packages are, and may be borne by the same list."""
    via = {"source": 1, "url": "https://advisories.example/GHSA-xxxx", "title": "long"}
    told = {"vulnerabilities": {"dompurify": {"via": [via], "fixAvailable": {"version": "9.9.9"}}}}
    assert supply.conclude([supply_console.as_packages(told)], {}, of=1) == 1
    line, total = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"Hole: dompurify [\d.]+: GHSA-xxxx, mended by 9\.9\.9", line)
    assert total == "3 of 3 packages audited, 1 holes."


def test_an_audit_without_npms_answer_is_no_whole_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Where one of two registries does not tell, what came is told, and the status says that it is not all."""
    answer = [{"name": "sound", "version": "1", "vulns": []}]
    assert supply.conclude([answer], {}, of=2) == supply.UNANSWERED
    assert supply.conclude([], {}, of=2) == supply.UNANSWERED
    assert supply.conclude([answer, answer], {}, of=2) == 0
    assert capsys.readouterr().out.startswith("1 of 1 packages audited, 0 holes.")
