"""What the README and its like say of the code is what the code says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values
from pydantic import SecretStr

from mlops_backend.app import create_app
from mlops_backend.config import Settings
from mlops_backend.errors import AppError
from mlops_backend.middleware import error_handlers
from tests.e2e.page_blocks import DOCS, README, read_blocks, read_table
from tests.e2e.processes import REPOSITORY
from tests.service import settings_for

DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])
FOR_QUART_RUN = {"QUART_APP", "QUART_RUN_PORT"}
# Roots of families: what is sent is one of their members.
NEVER_SENT = {"unavailable", "timeout"}


def written(value: Any) -> str:
    """A setting's default as one writes it in the environment."""
    match value:
        case None:
            return "off"
        case SecretStr():
            return value.get_secret_value()
        case bool():
            return str(value).lower()
        case tuple() | dict():
            return ",".join(value)
        case float():
            return f"{value:g}"
    return str(value)


def errors_in(kind: type[AppError]) -> Iterator[type[AppError]]:
    """A class and all its descendants."""
    yield kind
    for member in kind.__subclasses__():
        yield from errors_in(member)


def anchors_of(document: Path) -> set[str]:
    """The headings of a document as links name them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_configuration_table_is_the_settings() -> None:
    """The table of settings has every setting with its default, and nothing else."""
    table = {name.strip("`"): default.strip("`") for name, default, _ in read_table("settings.md", "Settings")}
    assert table == {name.upper(): written(field.default) for name, field in Settings.model_fields.items()}


def test_example_file_is_the_settings() -> None:
    """`.env.example` has every setting with its default; the backend's address is left commented out."""
    example = dotenv_values(REPOSITORY / ".env.example")
    for name in FOR_QUART_RUN:
        assert example.pop(name)
    settings = {name.upper(): written(field.default) for name, field in Settings.model_fields.items()}
    address = settings.pop("OLLAMA_BASE_URL")
    assert example == settings
    assert f"# OLLAMA_BASE_URL={address}\n" in (REPOSITORY / ".env.example").read_text("utf-8")


def test_routes_table_is_the_routes() -> None:
    """The table of routes has every route and method of the application."""
    rows = [row for row, _, _ in read_table("routes.md", "Routes")]
    listed = {(method, path) for row in rows for method, path in re.findall(r"`([A-Z]+) (\S+)`", row)}
    served = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in create_app(settings_for()).url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert listed == {route for route in served if "/assets/" not in route[1]}


def test_errors_table_is_the_tree() -> None:
    """The table of errors has every code that can be sent, with its status."""
    table = {code.strip("`"): status for status, code, _ in read_table("routes.md", "Errors")}
    tree = {kind.code: str(kind.status) for kind in errors_in(AppError) if kind.code not in NEVER_SENT}
    tree |= {code: str(status) for status, code in error_handlers._CODES.items()}
    assert table == {**tree, "backend_rejected": "4xx", "model_not_found": "404"}


def test_troubleshooting_names_real_codes() -> None:
    """Every code that the troubleshooting explains is one of the errors' table."""
    codes = {code.strip("`") for _, code, _ in read_table("routes.md", "Errors")}
    named = {
        code
        for cell, _, _ in read_table("troubleshooting.md", "Troubleshooting")
        for code in re.findall(r"`([a-z_]+_[a-z_]+)`", cell)
    }
    assert named <= codes
    assert len(named) > 5


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """Every link within the repository leads to a file, and to a heading in it if it names one."""
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def test_drain_and_docker_agree() -> None:
    """`docker stop` waits longer than the default drain."""
    (seconds,) = re.findall(r"docker stop --time (\d+)", (DOCS / "running.md").read_text("utf-8"))
    assert int(seconds) > Settings.model_fields["drain_timeout"].default


def test_the_readme_is_short() -> None:
    """The README is read in five minutes: what grows goes onto a page."""
    assert len(README.read_text("utf-8").splitlines()) <= 250


def test_architecture_names_what_is_there() -> None:
    """Every module and folder in the drawing of the architecture is in the repository."""
    shown = [line[:31] for line in read_blocks()["architecture"].text.splitlines()]
    named = {name for line in shown for name in re.findall(r"[\w./]+(?:\.py|/)", line)}
    there = {path.name for path in REPOSITORY.glob("*.py")} | {"deploy/", "mlops_backend/", "tests/"}
    for top in ("deploy", "mlops_backend", "tests"):
        there |= {path.name for path in (REPOSITORY / top).glob("**/*.py")}
        for folder in (REPOSITORY / top).glob("**/"):
            there |= {f"{folder.name}/", f"{folder.parent.name}/{folder.name}/"}
    assert named - there == set()
    assert len(named) > 20
