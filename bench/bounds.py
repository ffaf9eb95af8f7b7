"""The lines that a run against the build before must show: each with its bound, its figures, and whether it holds."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.report import Row

HOLDS = {True: "yes", False: "NO", None: "not measured"}
MANY = 1  # rows from which on each figure says whose it is


@dataclass(frozen=True)
class Promise:
    """One line; `key` is what its rows name."""

    key: str
    words: str
    bound: str


@dataclass(frozen=True)
class Verdict:
    """What became of a line; None: not measured in this run."""

    words: str
    bound: str
    figure: str
    holds: bool | None


PROMISES = (
    Promise("token", "CPU per streamed token, beside the build before", "≤ 0.65 ×"),
    Promise("smg", "the same beside SMG", "≤ 1.5 ×"),
    Promise("call", "CPU per call, beside the build before", "≤ 0.6 ×"),
    Promise("added", "added latency of a call at the median, beside the build before", "≤ 0.6 ×"),
    Promise("burst", "100 at once: p99 to the first token, beside the build before", "≤ 0.6 ×"),
    Promise("idle", "resident at idle, everything on, no engine", "≤ 80 MB"),
    Promise("workers", "two workers: tokens per second at full cores, beside one", "≥ 1.8 ×"),
    Promise("decisions", "20,000 requests over two workers without Redis: decisions as the reference model", "all"),
    Promise("gap", "worst gap of `/health` while the largest bodies are taken", "≤ 100 ms"),
    Promise("stored", "a stored exchange's CPU, beside the build before", "≤ 0.5 ×"),
    Promise("stored_burst", "1,000 stored at once: p99 to the first token, beside unstored", "≤ 2 ×"),
)


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """Return what became of every line."""
    return [_verdict(promise, [row for row in rows if row.promise == promise.key]) for promise in PROMISES]


def _verdict(promise: Promise, rows: Sequence[Row]) -> Verdict:
    judged = [row for row in rows if row.passed is not None]
    holds = all(row.passed for row in judged) if judged else None
    figures = [f"{row.of} {figure(row)}" if len(judged) > MANY else figure(row) for row in judged]
    return Verdict(promise.words, promise.bound, ", ".join(figures), holds)


def figure(row: Row) -> str:
    """Return a row's result as people write it."""
    if row.words:
        return row.words
    digits = 2 if row.comparison == "ratio" else row.digits
    return "" if row.result is None else f"{row.result:.{digits}f}"


def as_text(found: Sequence[Verdict]) -> str:
    """Return the table for a terminal."""
    lines = []
    for verdict in found:
        lines += [f"{HOLDS[verdict.holds]:13} {verdict.words}: {verdict.bound}"]
        lines += [f"{'':13}   {verdict.figure}"] if verdict.figure else []
    return "\n".join(["", "Must show", *lines])
