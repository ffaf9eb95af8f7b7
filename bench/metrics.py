"""The rows of the tables: where each figure is, how the targets are compared in it, and its bound."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from bench.figures import Round

Value = Callable[[Round, str], float | None]


@dataclass(frozen=True)
class Metric:
    """One row: where its figure is, and which comparison is held to which bound."""

    title: str
    scenario: str
    value: Value
    compare: str = "ratio"  # of the two compared; "value": the subject's own; "worst": of all rounds; "": none
    bound: float | None = None
    digits: int = 2
    against: str = ""  # another than the comparison's own reference
    promise: str = ""  # the line of the table of bounds that this is part of


def _plain(name: str) -> Value:
    return lambda measured, target: measured[target].get(name)


def _added(name: str, to: str) -> Value:
    def added(measured: Round, target: str) -> float | None:
        own, base = measured[target].get(name), measured.get(to, {}).get(name)
        return None if own is None or base is None or target == to else own - base

    return added


def _not_direct(name: str) -> Value:
    return lambda measured, target: None if target == "direct" else measured[target].get(name)


ON_ASYNCIO, SMG = "asyncio", "SMG"
_CPU_TOKEN = _plain("cpu_per_token_us")
_CPU_CALL = _not_direct("cpu_per_call_us")
_ADDED = _added("call_p50_ms", "direct")
_FIRST = _plain("first_token_p99_ms")
LATENESS = (
    Metric("  lateness of a token, median, ms", "steady", _plain("late_p50_ms")),
    Metric("  lateness of a token, p99, ms", "steady", _plain("late_p99_ms")),
    Metric("  tokens counted a round", "steady", _plain("tokens"), "", digits=0),
    Metric("  failed streams", "starts", _plain("errors"), "worst", bound=0, digits=0),
)


def _burst(bound: float | None) -> tuple[Metric, ...]:
    return (
        Metric("1,000 streams at once: failed", "burst", _plain("errors"), "worst", bound=0, digits=0),
        Metric("  open at the same time", "burst", _plain("open_at_once"), "", digits=0),
        Metric("  time to first token, median, ms", "burst", _plain("first_token_p50_ms"), digits=0),
        Metric("  time to first token, p99, ms", "burst", _plain("first_token_p99_ms"), bound=bound, digits=0),
    )


OF_PROXIES = (
    Metric("100 streams: CPU per token, µs", "steady", _not_direct("cpu_per_token_us"), bound=1.25, digits=1),
    Metric("  time to first token, median, ms", "starts", _plain("first_token_p50_ms")),
    Metric("  added to it, ms", "starts", _added("first_token_p50_ms", "direct"), "value"),
    *LATENESS,
    Metric("calls in turn: CPU per call, µs", "calls", _not_direct("cpu_per_call_us"), digits=0),
    Metric("  latency, median, ms", "calls", _plain("call_p50_ms")),
    Metric("  latency, p99, ms", "tails", _plain("call_p99_ms")),
    Metric("  added at the median, ms", "calls", _added("call_p50_ms", "direct"), "value", bound=1.5),
    Metric("  added at p99, ms", "tails", _added("call_p99_ms", "direct"), "value"),
    *_burst(bound=1.5),
)


OF_CARRIED = (
    Metric("100 streams: CPU per token, µs", "steady", _CPU_TOKEN, bound=1.5, digits=1),
    Metric("  time to first token, median, ms", "starts", _plain("first_token_p50_ms")),
    *LATENESS,
    Metric("calls in turn: CPU per call, µs", "calls", _CPU_CALL, digits=0),
    Metric("  latency, median, ms", "calls", _plain("call_p50_ms")),
)


def of_conversations(unstored: str) -> tuple[Metric, ...]:
    """Return the rows of streams that are stored beside those that are not; the bound is that of each token."""
    return (
        Metric("100 streams: CPU per token, µs", "steady", _plain("cpu_per_token_us"), bound=1.1, digits=1),
        Metric("  with their starts and ends, µs", "starts", _plain("whole_cpu_per_token_us"), digits=1),
        Metric("  tokens a stream", "starts", _plain("tokens_per_stream"), "", digits=0),
        Metric("  time to first token, median, ms", "starts", _plain("first_token_p50_ms")),
        Metric("  added to it, ms", "starts", _added("first_token_p50_ms", unstored), "value"),
        *LATENESS,
        Metric("20 tokens in turn: CPU of all, µs", "exchanges", _plain("cpu_per_exchange_us"), digits=0),
        Metric("  added by storing, µs", "exchanges", _added("cpu_per_exchange_us", unstored), "value", digits=0),
        Metric("  time to first token, median, ms", "exchanges", _plain("first_token_p50_ms")),
        Metric("  added to it, ms", "exchanges", _added("first_token_p50_ms", unstored), "value"),
        Metric("  until its end, median, ms", "exchanges", _plain("exchange_p50_ms")),
        Metric("  added to it, ms", "exchanges", _added("exchange_p50_ms", unstored), "value"),
        Metric("  until its end, p99, ms", "ends", _plain("exchange_p99_ms")),
        Metric("  failed", "ends", _plain("errors"), "worst", bound=0, digits=0),
        *_burst(bound=None),
    )


def beside_before(others: Collection[str]) -> tuple[Metric, ...]:
    """Return the rows of this build beside the build before, and beside others where they take part."""
    alike = [name for name in others if name in (ON_ASYNCIO, SMG)]
    return (
        Metric("100 streams: CPU per token, µs", "steady", _CPU_TOKEN, bound=0.65, digits=1, promise="token"),
        *_tokens_beside(others),
        *LATENESS[:2],
        LATENESS[-1],
        Metric("calls in turn: CPU per call, µs", "calls", _CPU_CALL, bound=0.6, digits=0, promise="call"),
        *_beside(alike, "calls", _CPU_CALL, 0),
        Metric("  latency, median, ms", "calls", _plain("call_p50_ms")),
        Metric("  added at the median, ms", "calls", _ADDED, bound=0.6, promise="added"),
        *_beside(alike, "calls", _ADDED, 2),
        Metric("  latency, p99, ms", "tails", _plain("call_p99_ms"), ""),
        Metric("100 at once: first token, p99, ms", "burst", _FIRST, bound=0.6, digits=1, promise="burst"),
        *_beside(alike, "burst", _FIRST, 1),
        Metric("  median, ms", "burst", _plain("first_token_p50_ms"), digits=1),
        Metric("  failed", "burst", _plain("errors"), "worst", bound=0, digits=0),
    )


def _beside(others: Collection[str], scenario: str, value: Value, digits: int) -> list[Metric]:
    """Return the same figure once more, compared with each of the others."""
    return [Metric(f"  beside {name}", scenario, value, digits=digits, against=name) for name in others]


def _tokens_beside(others: Collection[str]) -> list[Metric]:
    """Return a token's cost beside each of the others; beside SMG there is a bound."""
    found = _beside(others, "steady", _CPU_TOKEN, 1)
    return [replace(one, bound=1.5, promise="smg") if one.against == SMG else one for one in found]


def stored_beside_before(unstored: str) -> tuple[Metric, ...]:
    """Return the rows of stored exchanges: beside the build before, and beside what is not stored."""
    cost, first = _plain("cpu_per_exchange_us"), _plain("first_token_p99_ms")
    return (
        Metric("20 tokens in turn: CPU of all, µs", "exchanges", cost, bound=0.5, digits=0, promise="stored"),
        Metric("  time to first token, median, ms", "exchanges", _plain("first_token_p50_ms")),
        Metric("  until its end, median, ms", "exchanges", _plain("exchange_p50_ms")),
        Metric("  failed", "ends", _plain("errors"), "worst", bound=0, digits=0),
        Metric("1,000 at once: first token, p99, ms", "burst", first, digits=0),
        Metric("  beside unstored", "burst", first, "ratio", 2, 0, unstored, "stored_burst"),
        Metric("  failed", "burst", _plain("errors"), "worst", bound=0, digits=0),
    )
