"""Spans as OTLP writes them: put together from what requests left, many at once, with protobuf's own messages.

The SDK has objects of its own between the two, which cost more than all the rest of a span.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, SpanFlags, Status
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits
from opentelemetry.trace import SpanContext, TraceFlags

from mlops_backend.telemetry.gen_ai import Attribute, Common, Own

# What so many kinds of generations say alike is kept as it was written.
_MOST_WRITTEN: Final = 512
_EVENTS: Final = ("queued", "leased", "first_token")
_KEPT: Final = SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
_HERE: Final = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE: Final = _HERE | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
_Pairs = Sequence[tuple[str, Attribute]]
T = TypeVar("T")


class Ended(ReadableSpan):
    """A span that is over and to be sent: what it says, and not yet how that is written.

    The library's queue takes it for its kind, and asks it for nothing but whether it is to be sent.

    Args:
        ids: of the trace, the span and its parent, the last one 0 where there is none.
        state: W3C's `tracestate`.
        common: what it says as others do.
        own: what it says alone.
        came: when its request came, in seconds since the epoch.
        moments: seconds from then until it was in the queue, had a backend and its first piece, and was over.
    """

    def __init__(
        self,
        ids: tuple[int, int, int],
        state: str,
        common: Common,
        own: Own,
        came: float,
        moments: tuple[float | None, float | None, float | None, float],
    ) -> None:
        self.said = ids, state, common, own, came, moments

    @property
    def context(self) -> SpanContext:
        """One that is kept."""
        return _KEPT


class Writer:
    """Writes spans of one process, within the limits that the library reads from the environment.

    Args:
        resource: the attributes of the process.
        scope: the name and the version of what tells.

    Raises:
        ValueError: a limit is no number.
    """

    def __init__(self, resource: Mapping[str, Any], scope: tuple[str, str]) -> None:
        limits = SpanLimits()
        self._longest, self._most, self._most_events = (
            limits.max_span_attribute_length,
            limits.max_span_attributes,
            limits.max_events,
        )
        self._resource = Resource(attributes=[_pair(name, value) for name, value in resource.items()])
        self._scope = InstrumentationScope(name=scope[0], version=scope[1])
        self._alike = lru_cache(_MOST_WRITTEN)(self._write_alike)

    def written(self, spans: Iterable[Ended]) -> bytes:
        """The body of a request to a collector."""
        request = ExportTraceServiceRequest()
        told = request.resource_spans.add(resource=self._resource).scope_spans.add(scope=self._scope)
        for span in spans:
            self._write(told, span)
        body: bytes = request.SerializeToString()
        return body

    def _write(self, told: ScopeSpans, ended: Ended) -> None:
        (trace, span, parent), state, common, own, came, moments = ended.said
        times = [int((came + moment) * 1e9) if moment is not None else 0 for moment in moments]
        events = [_event(name, at) for name, at in zip((*_EVENTS, common.outcome), times, strict=True) if at]
        attributes = list(own.attributes().items())
        kept_events, kept = _last(events, self._most_events), _last(attributes, self._most)
        room = None if self._most is None else self._most - len(kept)
        alike, more = self._alike(common, bool(parent), room)
        told.spans.add(
            trace_id=trace.to_bytes(16),
            span_id=span.to_bytes(8),
            parent_span_id=parent.to_bytes(8) if parent else b"",
            trace_state=state,
            start_time_unix_nano=int(came * 1e9),
            end_time_unix_nano=times[-1],
            attributes=self._pairs(kept),
            dropped_attributes_count=len(attributes) - len(kept) + more,
            events=kept_events,
            dropped_events_count=len(events) - len(kept_events),
        ).MergeFromString(alike)

    def _write_alike(self, common: Common, remote: bool, room: int | None) -> tuple[bytes, int]:
        """What many spans say, and how much of it there was no room for."""
        told = list(common.attributes().items())
        kept = _last(told, room)
        span = Span(
            name=f"{common.operation} {common.asked_model}".rstrip(),
            kind=Span.SPAN_KIND_CLIENT,
            flags=_REMOTE if remote else _HERE,
            attributes=self._pairs(kept),
            status=Status(code=Status.STATUS_CODE_ERROR, message=common.failure) if common.failure else Status(),
        )
        return span.SerializeToString(), len(told) - len(kept)

    def _pairs(self, told: _Pairs) -> list[Any]:
        if self._longest is None:
            return [_pair(name, value) for name, value in told]
        return [_pair(name, _cut(value, self._longest)) for name, value in told]


def _last(told: list[T], most: int | None) -> list[T]:
    """As many as there may be, and the last ones, as the library has it."""
    return told if most is None or len(told) <= most else told[len(told) - max(0, most) :]


def _cut(value: Attribute, longest: int) -> Attribute:
    if isinstance(value, str):
        return value[:longest]
    return tuple([each[:longest] for each in value]) if isinstance(value, tuple) else value


def _event(name: str, at: int) -> Any:
    return {"name": name, "time_unix_nano": at}


def _pair(name: str, value: object) -> Any:
    """A `KeyValue` as protobuf takes it, and its types do not know."""
    return {"key": name, "value": _value(value)}


def _value(value: object) -> dict[str, Any]:
    if isinstance(value, str):
        return {"string_value": value}
    if isinstance(value, bool):
        return {"bool_value": value}
    if isinstance(value, int):
        return {"int_value": value}
    if isinstance(value, float):
        return {"double_value": value}
    return {"array_value": {"values": [_value(each) for each in value]}} if isinstance(value, Sequence) else {}
