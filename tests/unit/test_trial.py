"""The pure parts of the trial: gaps, the ledger's comparison, the table; and that its page names its cases."""

from __future__ import annotations

import pytest

from tests.e2e.page_blocks import read_table
from trial.backend import MODEL, STREAM
from trial.cases import CASES
from trial.gaps import Gap, gaps_between, own_worst, worst
from trial.ledger import Ids, compare
from trial.table import Check, render, summary
from trial.trials import allowed
from trial.watch import Seen
from trial.wire import Answer


def ids_of(sent: int, answered: int) -> Ids:
    """So many requests, of which the first were answered."""
    ids = Ids("r")
    names = [ids.new() for _ in range(sent)]
    ids.answered.update(names[:answered])
    return ids


def test_gaps_are_the_spans_between_answers() -> None:
    """A span that is long enough is a gap; the longest is told in milliseconds."""
    gaps = gaps_between([0.0, 0.02, 0.52, 0.54, 0.64], least=0.05)
    assert [(gap.start, gap.end) for gap in gaps] == [(0.02, 0.52), (0.54, 0.64)]
    assert worst(gaps) == pytest.approx(500)
    assert worst([]) == 0


def test_a_gap_of_the_machine_is_not_the_services() -> None:
    """What an idle server missed at the same time is taken off, but for the time between two polls."""
    assert own_worst([Gap(1.0, 1.5)], []) == pytest.approx(500)
    assert own_worst([Gap(1.0, 1.5)], [Gap(1.0, 1.5)]) == pytest.approx(20)
    assert own_worst([Gap(1.0, 1.5)], [Gap(1.4, 1.9)]) == pytest.approx(420)
    assert own_worst([Gap(1.0, 1.5)], [Gap(2.0, 3.0)]) == pytest.approx(500)


@pytest.mark.parametrize(("machine", "most"), [(0.0, 100.0), (0.02, 100.0), (0.08, 150.0)])
def test_a_busy_machine_allows_longer_gaps(machine: float, most: float) -> None:
    """A gap may be longer by what an idle server was kept waiting beyond a quiet machine's gap."""
    seen = Seen([], [Gap(0.0, machine)], 1, 1, [], 0.0, 0)
    assert allowed(seen) == pytest.approx(most)


@pytest.mark.parametrize(
    ("rows", "dropped", "ok", "text"),
    [
        (["r-0", "r-1"], 0, True, "2 rows of 2"),
        (["r-0", "r-1", "r-2"], 0, True, "2 rows of 2"),
        (["r-0"], 0, False, "1 rows of 2"),
        (["r-0"], 1, True, "1 rows of 2, 1 dropped"),
        (["r-0"], 2, True, "1 rows of 2, 2 dropped"),
        (["r-0"], 3, False, "1 rows of 2, 3 dropped"),
        (["r-0", "r-1"], 2, False, "2 rows of 2, 2 dropped"),
        (["r-0", "r-1", "r-1"], 0, False, "2 rows of 2, 1 twice"),
        (["r-0", "r-1", "x"], 0, False, "2 rows of 2, 1 of nobody"),
    ],
)
def test_ledger_is_compared_with_what_was_answered(rows: list[str], dropped: int, ok: bool, text: str) -> None:
    """Each answered request has one row or was dropped; an unanswered one may have one."""
    found = compare(ids_of(sent=3, answered=2), rows, dropped)
    assert (found.ok, found.text) == (ok, text)


def test_table_names_a_case_once() -> None:
    """The table has a line for each promise, the case's name in the first; what is too long is cut."""
    checks = [Check("one", "this", "that", ok=False), Check("one", "those", "x" * 200, ok=True)]
    head, rule, first, second = render(checks).splitlines()
    assert head.split(" | ")[0].strip() == "case"
    assert set(rule) == {"-", " ", "|"}
    assert [cell.strip() for cell in first.split("|")] == ["one", "this", "that", "NO"]
    assert second.startswith("    ")
    assert "x…" in second
    assert len({line.index("|") for line in (head, rule, first, second)}) == 1
    assert summary(checks, 2.4) == "1 of 2 promises kept, 1 of 1 cases differ, 2 s"


def test_what_an_answers_last_line_says() -> None:
    """The last object of a body is found, and nothing where there is none."""
    assert Answer(body=b'{"a":1}\n{"done":true}\n').last == {"done": True}
    assert Answer(body=b"no").last == {}
    assert Answer(body=b"").last == {}
    assert not Answer(body=b"").is_json


def test_the_backend_reads_what_it_must() -> None:
    """The model and the stream field are found however JSON is spaced."""
    for body in (b'{"model":"flood","stream":false}', b'{"model": "flood", "stream": false}'):
        model, stream = MODEL.search(body), STREAM.search(body)
        assert model is not None
        assert stream is not None
        assert (model[1], stream[1]) == (b"flood", b"false")


def test_cases_are_those_of_the_page() -> None:
    """The page has every case with what it does, and says which are in the short selection."""
    listed = {(name.strip("`"), does, ci == "yes") for name, does, ci in read_table("trial.md", "Cases")}
    assert listed == {(case.name, case.does, case.in_ci) for case in CASES}
    assert len(listed) == len(CASES)
