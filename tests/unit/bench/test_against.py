"""What the benchmark makes of its figures: ratios, verdicts, the page's tables, and the widest bars."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from bench import page, workers
from bench.__main__ import parsed
from bench.against import Run
from bench.bounds import verdicts
from bench.builds import Build, environment_name, pinned
from bench.metrics import beside_before
from bench.report import Row, compared, with_results
from bench.widest import widest

STACKS = """"python";Runner.run (asyncio/runners.py:1);relay (/a/lib/python3.11/site-packages/quart/app.py:7) 5
"python";Runner.run (asyncio/runners.py:1);relay (/a/lib/python3.11/site-packages/quart/app.py:9);send (x.py:1) 2
"python";Runner.run (asyncio/runners.py:1);Handle._run (asyncio/events.py:1);idle (y.py:1) 2
"python";Runner.run (asyncio/runners.py:1) 1
"python";run (threading.py:1);execute (sqlite.py:1) 90
"""


def judged(key: str, *, ratio: float, bound: float, of: str = "openai") -> Row:
    """A row that is part of a promise."""
    return with_results(Row("CPU", {}, {}, bound=bound, promise=key, of=of), "ratio", [ratio])


def test_a_ratio_is_of_rounds_side_by_side() -> None:
    """A slow round was slow for both: the medians far apart say nothing."""
    row = compared("CPU", {"now": [1.0, 10.0, 2.0], "before": [2.0, 20.0, 4.0]}, "now", "before", 1)
    assert (row.result, row.result_spread, row.passed) == (0.5, (0.5, 0.5), None)


@pytest.mark.parametrize(("ratio", "passed"), [(1.79, False), (1.8, True)])
def test_a_ratio_of_at_least_so_much(ratio: float, passed: bool) -> None:
    """Where more is better, less than the bound misses it."""
    assert compared("tokens", {"two": [ratio], "one": [1.0]}, "two", "one", 0, least=1.8).passed is passed


def test_every_family_has_to_hold() -> None:
    """A line holds when each of its rows does, and tells whose figure is whose."""
    good, bad = judged("token", ratio=0.5, bound=0.65), judged("token", ratio=0.7, bound=0.65, of="ollama")
    found = {verdict.words: verdict for verdict in verdicts([good, bad])}
    line = found["CPU per streamed token, beside the build before"]
    assert (line.figure, line.holds) == ("openai 0.50, ollama 0.70", False)
    assert found["the same beside SMG"].holds is None


def test_only_who_takes_part_is_compared() -> None:
    """Without SMG there is no row that compares with it."""
    assert {metric.promise for metric in beside_before(["SMG"])} - {m.promise for m in beside_before([])} == {"smg"}


def test_what_two_workers_carry() -> None:
    """Each token costs two workers as much as one: they carry twice as many, less what is spread unevenly."""
    figures = {"cpu_per_token_us": 50.0, "tokens_per_second": 1.0, "load_per_token_us": 1.0, "busy": 2.0}
    rows = workers.rows_of({"rounds": [{"one": figures, "two": figures}], "spread": {"one": [100], "two": [60, 40]}})
    assert rows[0].medians == {"one": 20_000.0, "two": 40_000.0}
    assert (rows[0].result, rows[0].passed) == (2.0, True)
    assert rows[1].result == pytest.approx(2 / 1.2)


def test_locks_that_pin_the_same_share_an_environment() -> None:
    """Comments and hashes make no difference, versions do."""
    lock = "# input-sha256: 1\nquart==0.20.0 \\\n    --hash=sha256:a\nredis[hiredis]==7.0\n"
    assert pinned(lock) == pinned(lock.replace("sha256: 1", "sha256: 2")) == ["quart==0.20.0", "redis[hiredis]==7.0"]
    assert environment_name(pinned(lock)) != environment_name(pinned(lock.replace("7.0", "7.1")))


def test_a_build_knows_its_settings(tmp_path: Path) -> None:
    """Those that its example names, in use or not."""
    (tmp_path / ".env.example").write_text("# WORKERS=1\nHOST=\n", "utf-8")
    build = Build("before", tmp_path, "python")
    assert [build.knows(name) for name in ("WORKERS", "HOST", "EVENT_LOOP")] == [True, True, False]


def test_the_page_keeps_what_is_not_between_the_marks() -> None:
    """And has no place for what has no marks."""
    text = "above\n<!-- against:start -->\n\nold\n\n<!-- against:end -->\nbelow\n"
    assert page.with_part(text, "against", "new") == text.replace("old", "new")
    with pytest.raises(SystemExit, match="widest:start"):
        page.with_part(text, "widest", "new")


def test_the_page_has_the_bounds_and_each_table() -> None:
    """A run's rows become the table of bounds, and one for each family."""
    row = Row("  beside SMG", {"now": 40.0, "SMG": 28.04}, {}, digits=1, of="server", bound=1.5, promise="smg")
    machine = {"date": "d", "cpus": 2, "cpu_model": "m", "memory_gib": 24, "python": "3", "system": "s", "load": "0.1"}
    rows = [asdict(with_results(row, "ratio", [1.4, 1.6]))]
    told = {"machine": machine, "against": "3654854", "skipped": {"nginx": "it is not installed"}, "rows": rows}
    text = page.tables(told | {"parts": {"server": {"elsewhere": [0.1, 1.5]}}})
    assert "| the same beside SMG | ≤ 1.5 × | 1.50 | yes |" in text
    assert "| … beside SMG | 40.0 | 28.0 | × 1.50 (1.40–1.60) |" in text
    assert "Disturbed: others used up to 1.5 CPUs." in text
    assert "Without nginx: it is not installed." in text


def test_later_runs_replace_the_same_comparisons() -> None:
    """A run of some parts takes the place of these parts in an earlier one."""
    first = {"rows": [{"of": "server", "n": 1}, {"of": "workers", "n": 1}], "skipped": {}, "parts": {}}
    second = {"rows": [{"of": "server", "n": 2}], "skipped": {"workers": "one core"}, "parts": {}}
    assert page.merged([first, second]) == {
        "rows": [{"of": "server", "n": 2}, {"of": "workers", "n": 1}],
        "skipped": {},
        "parts": {},
    }


def test_the_widest_bars_are_functions_by_their_part_of_all_looks() -> None:
    """Lines of one function are one bar; the loop is under all of them, and other threads are not looked at."""
    bars = [
        ("relay (quart/app.py)", 0.7, 0.5),
        ("send (x.py)", 0.2, 0.2),
        ("idle (y.py)", 0.2, 0.2),
        ("the loop itself", 0.1, 0.1),
    ]
    assert sorted(widest(STACKS)) == sorted(bars)
    assert widest(STACKS, 1) == bars[:1]


def test_a_part_that_fails_leaves_the_others() -> None:
    """It is named with its reason; who tells the run to stop is obeyed."""
    run = Run(parsed(["--against", "main"]), lambda text: None)

    def fails() -> None:
        raise SystemExit("before does not answer\nit said: nothing")

    run.attempt("stored", fails)
    assert run.skipped == {"stored": "it failed: before does not answer"}
    with pytest.raises(SystemExit):
        run.attempt("stored", lambda: sys.exit(143))
