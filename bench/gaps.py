"""The stall probe as a part of a run: how long `/health` waits while each of the worst bodies is taken."""

from collections.abc import Callable, Sequence

from bench.report import Row, with_results
from bench.stall_bodies import Case, cases
from bench.stalls import Stall, measured

TITLE = "stalls: the longest wait of /health beside one large body"
BOUND = 100
COLUMNS = ("gap", "own")
# Of all bodies of `python -m bench.stalls` those that held everybody up longest, and one for each way to take a body.
WORST = {
    "/api/llm/generate": ("one plain text", "escapes", "exponents"),
    "/api/llm/chat": ("a million messages", "9,000 messages", "twelve images"),
    "/api/llm/embed": ("short texts",),
    "/api/generate": ("one plain text", "integers", "500,000 names"),
    "/api/chat": ("a million messages", "twelve images"),
    "/v1/chat/completions": ("exponents", "integers", "a million messages", "compressed"),
    "/v1/messages": ("a million messages", "twelve images"),
    "/api/database/conversations": ("2,000 messages",),
    "{conversation}/messages": ("a question behind 30 MB",),
}


def worst() -> list[Case]:
    """Return the bodies to send."""
    return [case for case in cases() if case.title in WORST.get(case.path, ())]


def stalls(say: Callable[[str], None]) -> list[Stall]:
    """Send them."""
    return measured(worst(), say=say)


def rows_of(found: Sequence[Stall]) -> list[Row]:
    """Return the longest gap of all, and a row for each body; `own` is what the service's own thread ran in it."""
    longest = max(found, key=lambda stall: stall.gap)
    whole = Row("longest wait of /health, ms", _figures(longest), {}, digits=0, bound=BOUND, promise="gap")
    return [with_results(whole, "value", [longest.gap]), *(_row(stall) for stall in found)]


def _row(stall: Stall) -> Row:
    return Row(f"  {stall.path}: {stall.title}", _figures(stall), {}, digits=0)


def _figures(stall: Stall) -> dict[str, float]:
    return {"gap": stall.gap, "own": stall.own}
