"""Places in traces: read from what a client says of its own, chosen by samplers, and written for a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    Decision,
    ParentBasedTraceIdRatio,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from mlops_backend.telemetry.traces import PARENT, STATE, Pairs

CARRY: Final = (PARENT.encode(), STATE.encode())
NOWHERE: Final = Context()
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_SAMPLERS: Final[Mapping[str, Callable[[float], Sampler]]] = {
    "always_on": lambda _: ALWAYS_ON,
    "always_off": lambda _: ALWAYS_OFF,
    "traceidratio": TraceIdRatioBased,
    "parentbased_always_on": lambda _: DEFAULT_ON,
    "parentbased_always_off": lambda _: DEFAULT_OFF,
    "parentbased_traceidratio": ParentBasedTraceIdRatio,
}


class Place:
    """A place in a trace: its ids, W3C's flags, and its state; `kept` says whether its span is told of."""

    __slots__ = ("flags", "id", "kept", "span", "state", "trace")

    def __init__(self, trace: int, span: int, flags: int, state: str) -> None:
        self.trace, self.span, self.flags, self.state = trace, span, flags, state
        self.id = f"{trace:032x}" if trace else ""
        self.kept = bool(flags & TraceFlags.SAMPLED)

    def headers(self) -> Pairs:
        """In the words of W3C's Trace Context; none where it is no place."""
        if not self.id:
            return ()
        parent = (PARENT, f"00-{self.id}-{self.span:016x}-{self.flags:02x}")
        return (parent, (STATE, self.state)) if self.state else (parent,)


class Places:
    """Chooses the places of new spans.

    Args:
        sampler: its name, as `OTEL_TRACES_SAMPLER` has it.
        argument: its number.
    """

    def __init__(self, sampler: str, argument: float) -> None:
        self._sampler = _SAMPLERS[sampler](argument)
        self._ids = RandomIdGenerator()
        # Whatever its id is, what begins a trace is told of or not, unless it is one of so many.
        is_part = isinstance(self._sampler, TraceIdRatioBased | ParentBasedTraceIdRatio)
        self._first = None if is_part else _flags(self._sampler.should_sample(NOWHERE, 1, ""), is_random=True)

    def placed(self, context: Context, parent: SpanContext) -> Place:
        """The place of a new span; `parent` is the one that is in `context`."""
        if parent.trace_id:
            trace, is_random = parent.trace_id, parent.trace_flags.random_trace_id
        else:
            trace, is_random = self._ids.generate_trace_id(), True
            if self._first is not None:
                return Place(trace, self._ids.generate_span_id(), self._first, "")
        result = self._sampler.should_sample(context, trace, "")
        state = result.trace_state
        flags = _flags(result, is_random=is_random)
        return Place(trace, self._ids.generate_span_id(), flags, state.to_header() if state else "")


def place_of(context: SpanContext) -> Place:
    """The place that OpenTelemetry's context is."""
    return Place(context.trace_id, context.span_id, context.trace_flags, context.trace_state.to_header())


def context_in(headers: Sequence[tuple[bytes, bytes]]) -> Context:
    """The place in a trace that a client names; none where it names two, or one that cannot be read."""
    told = [(name, value.decode("latin-1")) for name, value in headers]
    parents = [value for name, value in told if name == CARRY[0]]
    if len(parents) != 1:
        return NOWHERE
    carrier = {PARENT: parents}
    if states := [value for name, value in told if name == CARRY[1]]:
        carrier[STATE] = states
    return _PROPAGATOR.extract(carrier, Context())


def _flags(result: SamplingResult, *, is_random: bool) -> int:
    is_kept = result.decision is Decision.RECORD_AND_SAMPLE
    return is_kept * TraceFlags.SAMPLED | is_random * TraceFlags.RANDOM_TRACE_ID
