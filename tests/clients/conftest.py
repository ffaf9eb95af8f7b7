"""Prints the table of what was tried, and writes it down when told to."""

from __future__ import annotations

import pytest

from tests.clients.results import Row, printed, read_results, write_page, write_results

ROWS = pytest.StashKey[list[Row]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of `make test-clients`."""
    parser.addoption("--write-page", action="store_true", help="keep the results, and make the page's table of them")


def pytest_configure(config: pytest.Config) -> None:
    """Nothing has been tried yet."""
    config.stash[ROWS] = []


@pytest.fixture
def rows(request: pytest.FixtureRequest) -> list[Row]:
    """The rows so far."""
    return request.config.stash[ROWS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    terminalreporter.section("clients")
    for line in printed(rows):
        terminalreporter.write_line(line)
    if config.getoption("--write-page", default=False):
        write_results(rows)
        write_page(read_results())
