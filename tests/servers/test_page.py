"""The page "Servers that are tested" has each server, each case, and each reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import pytest

from tests.e2e.page_blocks import DOCS, read_table
from tests.servers.real.asking import CASES
from tests.servers.real.differences import reason
from tests.servers.real.every import SERVERS
from tests.servers.real.kinds import Server

PAGE: Final = "servers-tested.md"
ROWS: Final[Mapping[str, Sequence[str]]] = {name: rest for name, *rest in read_table(PAGE, "Servers that are tested")}


def _cases(server: Server) -> list[str]:
    return [name for name, case in CASES.items() if case.needs <= server.has]


def test_every_server_has_a_row() -> None:
    """In the order in which they are asked."""
    assert list(ROWS) == [server.name for server in SERVERS]


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_the_numbers_are_those_of_the_cases(server: Server) -> None:
    """Together they are all cases; those that differ are as many as have a reason."""
    *_, same, refused, translated, ours, differs = ROWS[server.name]
    assert sum(map(int, (same, refused, translated, ours, differs))) == len(_cases(server))
    assert int(differs) == sum(bool(reason(server.name, name)) for name in _cases(server))


def test_every_reason_stands_there() -> None:
    """Each difference that is meant is told with its reason."""
    text = re.sub(r"\s+", " ", (DOCS / PAGE).read_text("utf-8"))
    reasons = {reason(server.name, name) for server in SERVERS for name in _cases(server)} - {""}
    assert [why for why in reasons if why not in text] == []
