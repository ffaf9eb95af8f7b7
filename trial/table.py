"""The one table that a trial prints."""

from collections.abc import Sequence
from dataclasses import dataclass

HEAD = ("case", "promised", "seen", "ok")
WIDEST = 110


@dataclass(frozen=True)
class Check:
    """One promise, what was seen of it, and whether that is the same."""

    case: str
    promised: str
    seen: str
    ok: bool


def render(checks: Sequence[Check]) -> str:
    """Return the table as text; a case's name stands in its first line."""
    lines = [HEAD]
    before = ""
    for check in checks:
        lines.append((check.case if check.case != before else "", check.promised, _cut(check.seen), _word(check.ok)))
        before = check.case
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    lines.insert(1, ("-" * widths[0], "-" * widths[1], "-" * widths[2], "-" * widths[3]))
    return "\n".join(_padded(line, widths) for line in lines)


def summary(checks: Sequence[Check], seconds: float) -> str:
    """Return how many promises were kept."""
    broken = [check for check in checks if not check.ok]
    cases = {check.case for check in checks}
    failed = {check.case for check in broken}
    kept = len(checks) - len(broken)
    return f"{kept} of {len(checks)} promises kept, {len(failed)} of {len(cases)} cases differ, {seconds:.0f} s"


def _padded(line: Sequence[str], widths: Sequence[int]) -> str:
    return " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WIDEST else line[: WIDEST - 1] + "…"


def _word(ok: bool) -> str:
    return "yes" if ok else "NO"
