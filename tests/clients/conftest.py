"""Prints the table of what was tried, and writes it down when told to."""

from __future__ import annotations

import pytest

from tests.clients.loop_results import LoopRow, printed_loops, write_loops, write_loops_page
from tests.clients.results import Row, printed, read_results, write_page, write_results

ROWS = pytest.StashKey[list[Row]]()
LOOP_ROWS = pytest.StashKey[list[LoopRow]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of `make test-clients`."""
    parser.addoption("--write-page", action="store_true", help="keep the results, and make the page's table of them")


def pytest_configure(config: pytest.Config) -> None:
    """Nothing has been tried yet."""
    config.stash[ROWS] = []
    config.stash[LOOP_ROWS] = []


@pytest.fixture
def rows(request: pytest.FixtureRequest) -> list[Row]:
    """The rows so far."""
    return request.config.stash[ROWS]


@pytest.fixture
def loop_rows(request: pytest.FixtureRequest) -> list[LoopRow]:
    """The rows of loops so far."""
    return request.config.stash[LOOP_ROWS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the tables, and write them down when told to."""
    rows, loops = config.stash.get(ROWS, []), config.stash.get(LOOP_ROWS, [])
    kept = config.getoption("--write-page", default=False)
    if rows:
        terminalreporter.section("clients")
        terminalreporter.write("\n".join([*printed(rows), ""]))
        if kept:
            write_results(rows)
            write_page(read_results())
    if loops:
        terminalreporter.section("loops of tools")
        terminalreporter.write("\n".join([*printed_loops(loops), ""]))
        if kept:
            write_loops(loops)
            write_loops_page()
