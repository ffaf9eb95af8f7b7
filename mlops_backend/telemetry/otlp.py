"""Spans over OTLP, by OpenTelemetry's SDK: one for each generation, made of its record at its end.

The SDK is optional, and imported here and in `otlp_exporter.py` alone: see `tracing.py`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    ParentBasedTraceIdRatio,
    Sampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from mlops_backend import __version__
from mlops_backend.config import Settings
from mlops_backend.setting_traces import headers_in, traces_url
from mlops_backend.telemetry.gen_ai import Heard, asked_attributes, attributes_of, error_type, model_of, operation_of
from mlops_backend.telemetry.otlp_exporter import Exporter, Words
from mlops_backend.telemetry.record import RequestRecord, without_keys
from mlops_backend.telemetry.traces import PARENT, STATE, Pairs, Traces

# Spans that wait for the collector. With what was asked and answered in them each takes some 200 KB at the most.
_MOST_WAITING: Final = 2048
_MOST_WAITING_WITH_CONTENT: Final = 256
_BATCH: Final = 256
# Seconds for the last ones; what is not there then is lost.
LAST_SPANS: Final = 2.0
_CARRY: Final = (PARENT.encode(), STATE.encode())
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_SAMPLERS: Final[Mapping[str, Callable[[float], Sampler]]] = {
    "always_on": lambda _: ALWAYS_ON,
    "always_off": lambda _: ALWAYS_OFF,
    "traceidratio": TraceIdRatioBased,
    "parentbased_always_on": lambda _: DEFAULT_ON,
    "parentbased_always_off": lambda _: DEFAULT_OFF,
    "parentbased_traceidratio": ParentBasedTraceIdRatio,
}


class OtlpTraces(Traces):
    """The spans of this process, and their way to a collector.

    Args:
        settings: where they go, which of them, and whether content goes with them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._most = _MOST_WAITING_WITH_CONTENT if settings.otel_capture_content else _MOST_WAITING
        self._words = Words()
        self._words.listen()
        self._exporter: Exporter | None = None
        self._ended = self._full = 0
        self._provider = _provider(settings)
        self._tracer = self._provider.get_tracer("mlops_backend", __version__)

    @property
    def exported(self) -> int:
        """Spans that a collector took."""
        return 0 if self._exporter is None else self._exporter.exported

    @property
    def lost(self) -> int:
        """Spans that no collector took."""
        return self._full + (0 if self._exporter is None else self._exporter.failed)

    def begin(self, headers: Iterable[tuple[bytes, bytes]]) -> _SpanOfRequest:
        """A request that has just come; what its client says of a trace is taken if it can be read."""
        told = [(name, value) for name, value in headers if name in _CARRY]
        return _SpanOfRequest(self, _context(told) if told else Context())

    def start(self, record: RequestRecord, context: Context) -> Span:
        """The span of a generation, from when its request came."""
        start = int(record.at * 1e9)
        attributes = asked_attributes(record)
        return self._tracer.start_span(_name(record), context, SpanKind.CLIENT, attributes, start_time=start)

    def end(self, span: Span, at: int) -> None:
        """Hand on a span, unless too many wait already."""
        if self._waiting >= self._most:
            self._full += 1
            return
        self._ended += 1
        span.end(at)

    @property
    def wants_content(self) -> bool:
        """Whether what was asked and answered is told as well."""
        return self._settings.otel_capture_content

    async def open(self) -> None:
        """Start the thread that sends; a variable that the library cannot use leaves the service without traces."""
        settings = self._settings
        headers = headers_in(settings.otel_exporter_otlp_headers.get_secret_value())
        try:
            inner = OTLPSpanExporter(traces_url(settings.otel_exporter_otlp_endpoint), headers=headers)
            exporter = Exporter(inner, settings.otel_exporter_otlp_endpoint, self._words)
            batches = BatchSpanProcessor(exporter, max_queue_size=self._most, max_export_batch_size=_BATCH)
        except ValueError as error:
            reason = without_keys(str(error))
            structlog.get_logger().warning("no traces: a variable of OpenTelemetry cannot be used", reason=reason)
            return
        self._exporter = exporter
        self._provider.add_span_processor(batches)

    async def aclose(self) -> None:
        """Send what waits, for `LAST_SPANS` seconds; not in a thread of the loop, which would wait for its end."""
        if self._exporter is None:
            return
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        provider = self._provider

        def shut_down() -> None:
            with suppress(Exception):
                provider.shutdown()
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=shut_down, name="last spans", daemon=True).start()
        with suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), LAST_SPANS)
        if left := self._waiting:
            self._full += left
            self._exporter.stop()
            structlog.get_logger().warning(
                "traces are lost: the collector did not take them in time", lost=left, reason=self._words.text
            )

    @property
    def _waiting(self) -> int:
        return self._ended - (0 if self._exporter is None else self._exporter.taken)


class _SpanOfRequest:
    """One request: of a generation a span, of any other the client's own place in its trace."""

    __slots__ = ("_content", "_context", "_heard", "_span", "_traces")

    def __init__(self, traces: OtlpTraces, context: Context) -> None:
        self._traces = traces
        self._context = context
        self._span: Span | None = None
        self._heard = Heard()
        self._content: dict[str, str] = {}

    @property
    def id(self) -> str:
        """The trace's id."""
        context = (self._span or get_current_span(self._context)).get_span_context()
        return f"{context.trace_id:032x}" if context.is_valid else ""

    @property
    def example(self) -> dict[str, str] | None:
        """The trace as a metric's exemplar, where this span is kept."""
        return {"trace_id": self.id} if self._span is not None and self._span.is_recording() else None

    @property
    def wants_content(self) -> bool:
        """Whether what was asked and answered is told as well."""
        return self._traces.wants_content and (self._span is None or self._span.is_recording())

    def carried(self, record: RequestRecord, headers: Pairs) -> Pairs:
        """The headers with this span's context in the place of the client's; one that cannot be read goes nowhere."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, self._carried_context(record))
        return (*((name, value) for name, value in headers if name.lower() not in {PARENT, STATE}), *carrier.items())

    def hear(self, told: Mapping[str, Any]) -> None:
        """Take what an answer tells of itself."""
        self._heard.take(told)

    def note_asked(self, attributes: Mapping[str, str]) -> None:
        """Take what was asked."""
        self._content |= attributes

    def note_answered(self, attributes: Mapping[str, str]) -> None:
        """Take what was answered."""
        self._content |= attributes

    def end(self, record: RequestRecord, now: float) -> None:
        """End the span of a generation, with all that is known."""
        if not record.generates:
            return
        span = self._of(record)
        if not span.is_recording():
            return
        span.set_attributes({**attributes_of(record, self._heard), **self._content})
        for name, moment in _moments(record, now):
            span.add_event(name, timestamp=_since_epoch(record, moment))
        if record.outcome != "done":
            span.set_status(Status(StatusCode.ERROR, error_type(record)))
        span.update_name(_name(record))
        self._traces.end(span, _since_epoch(record, now))

    def _carried_context(self, record: RequestRecord) -> Context:
        return set_span_in_context(self._of(record)) if record.generates else self._context

    def _of(self, record: RequestRecord) -> Span:
        if self._span is None:
            self._span = self._traces.start(record, self._context)
        return self._span


def _provider(settings: Settings) -> TracerProvider:
    """Makes the spans of this process, one of several workers or the only one."""
    resource = Resource.create(
        {
            "service.name": settings.otel_service_name,
            "service.version": __version__,
            "service.instance.id": str(uuid4()),
        }
    )
    sampler = _SAMPLERS[settings.otel_traces_sampler](settings.otel_traces_sampler_arg)
    return TracerProvider(sampler, resource, shutdown_on_exit=False)


def _context(headers: Sequence[tuple[bytes, bytes]]) -> Context:
    """The place in a trace that a client names; none where it names two, or one that cannot be read."""
    told = [(name, value.decode("latin-1")) for name, value in headers]
    parents = [value for name, value in told if name == _CARRY[0]]
    if len(parents) != 1:
        return Context()
    carrier = {PARENT: parents}
    if states := [value for name, value in told if name == _CARRY[1]]:
        carrier[STATE] = states
    return _PROPAGATOR.extract(carrier, Context())


def _name(record: RequestRecord) -> str:
    return f"{operation_of(record)} {model_of(record)}".rstrip()


def _moments(record: RequestRecord, now: float) -> Iterator[tuple[str, float]]:
    for name, moment in (("queued", record.queued), ("leased", record.leased), ("first_token", record.first_byte)):
        if moment is not None:
            yield name, moment
    yield record.outcome, now


def _since_epoch(record: RequestRecord, moment: float) -> int:
    return int((record.at + moment - record.started) * 1e9)
