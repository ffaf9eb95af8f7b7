"""The page of the log has every event and field that the code logs, and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from mlops_backend.middleware.audit import ACTIONS
from mlops_backend.principal import Principal
from mlops_backend.telemetry.record import _TOLD, RequestRecord
from tests.e2e.page_blocks import read_table
from tests.e2e.processes import REPOSITORY

PACKAGE = REPOSITORY / "mlops_backend"
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
# Functions of our own that pass an event on: its level, and what they add to it.
PASS_ON = {
    "connections/register.py": ("tell", "warning", {"open"}),
    "connections/listener.py": ("tell", "warning", {"open"}),
    "services/other/usage/ledger.py": ("_drop", "error", {"dropped", "waiting"}),
}
# What is no literal where it is logged.
MADE = {
    ("limits_redis_down", "warning", "error"),
    ("leases_redis_down", "warning", "error"),
    ("streams_redis_down", "warning", "error"),
    ("limits_redis_up", "info"),
    ("leases_redis_up", "info"),
    ("streams_redis_up", "info"),
    ("responses_redis_down", "warning", "error"),
    ("responses_redis_up", "info"),
    ("the database is away", "error", "error"),
    ("the database answers again", "info"),
    ("the database cannot be written to", "error", "error"),
    ("the database is written to again", "info"),
    ("embedded_engine_died", "error", "exit_code", "last_words", "restart_in"),
    ("worker_died", "error", "pid", "reason", "restart_in", "status", "worker"),
    ("log lines are lost", "error", "lost", "reason"),
    ("audit", "info"),
    ("an error was ignored", "error"),
    ("a thread has failed", "error"),
}
NO_LITERAL = {
    *("redis_link.py", "services/other/database/state.py", "telemetry/exceptions.py"),
    *("connections/register.py", "services/other/usage/ledger.py"),
}
NO_FIELDS = {"exc_info"}


def calls_in(path: Path) -> Iterator[tuple[str, str, ast.Call]]:
    """Calls of methods: what is called, of what, and the call."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr, ast.unparse(node.func.value), node


def logged() -> tuple[set[tuple[str, ...]], set[str]]:
    """All events with their level and fields, and the modules that log what is no literal."""
    events, odd = set(MADE), set()
    made = {event for event, *_ in MADE}
    for path in PACKAGE.rglob("*.py"):
        name = str(path.relative_to(PACKAGE))
        passing, passed_level, added = PASS_ON.get(name, ("", "", set()))
        for method, of, call in calls_in(path):
            is_log = method in LEVELS and (of == "log" or of.endswith((".log", "get_logger()")))
            if not is_log and (not passing or method != passing):
                continue
            event = call.args[0]
            if not (isinstance(event, ast.Constant) and isinstance(event.value, str)):
                odd.add(name)
                continue
            fields = {word.arg for word in call.keywords if word.arg} - NO_FIELDS | (set() if is_log else added)
            if event.value not in made:
                events.add((event.value, LEVELS[method] if is_log else passed_level, *sorted(fields)))
    return events, odd


def words(cell: str) -> list[str]:
    """What a cell has between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def test_the_table_of_events_is_the_code() -> None:
    """Each event with its level and its fields, and none that is not there any more."""
    told = {
        (event, level, *sorted(words(fields)))
        for events, level, fields, _ in read_table("logs.md", "Other events")
        for event in words(events)
    }
    events, odd = logged()
    assert told == events
    assert odd == NO_LITERAL


def test_what_is_made_is_made_of_the_code() -> None:
    """Events that are no literals where they are logged are literals elsewhere."""
    texts = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    for event, *_ in MADE:
        name, redis, _ = event.partition("_redis_")
        assert f'"{name}"' in texts if redis else f'"{event}"' in texts, event


def test_the_table_of_actions_is_what_is_audited() -> None:
    """Each action of a route, and of a command; the last row is of what has no name."""
    deeds = re.findall(r'Deed\("([^"]+)"', (PACKAGE / "cli.py").read_text())
    *named, _ = read_table("logs.md", "The audit log", 1)
    told = [action for actions, _ in named for action in words(actions)]
    assert sorted(told) == sorted({*ACTIONS.values(), *deeds})


def fields_of_requests() -> set[str]:
    """Every field that the line of a request may have."""
    record = RequestRecord("an-id", "POST", caller=Principal("a", "b"), sent_upstream=1.0, first_byte=1.0)
    for field in _TOLD:
        setattr(record, field, "x")
    record.trace = type("Traced", (), {"id": "x"})()
    record.prompt_tokens = record.completion_tokens = 1
    record.passed_over, record.estimated = ("x",), True
    return {*record.fields(2.0)}


def test_the_table_of_requests_is_the_record() -> None:
    """Each field of the line of a request."""
    told = [field for fields, _ in read_table("logs.md", "The line of a request") for field in words(fields)]
    assert sorted(told) == sorted(fields_of_requests())
