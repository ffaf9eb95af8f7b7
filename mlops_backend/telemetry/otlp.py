"""Spans over OTLP: one for each generation, made of its record at its end.

What OpenTelemetry's SDK does well is left to it: samplers, W3C's context, the resource, the queue and the way to the
collector. Its spans are not made; see `otlp_spans.py`. It is optional, and imported here and in the modules `otlp_…`
alone: see `tracing.py`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Final
from uuid import uuid4

import structlog
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NoOpTracer, SpanContext, get_current_span

from mlops_backend import __version__
from mlops_backend.config import Settings
from mlops_backend.setting_traces import headers_in, traces_url
from mlops_backend.telemetry.gen_ai import Heard, common_of, own_of
from mlops_backend.telemetry.otlp_exporter import Exporter, Sender, Words
from mlops_backend.telemetry.otlp_places import CARRY, NOWHERE, Place, Places, context_in, place_of
from mlops_backend.telemetry.otlp_spans import Ended, Writer
from mlops_backend.telemetry.record import RequestRecord, without_keys
from mlops_backend.telemetry.traces import PARENT, STATE, Pairs, Traces

# Spans that wait for the collector. With what was asked and answered in them each takes some 200 KB at the most.
_MOST_WAITING: Final = 2048
_MOST_WAITING_WITH_CONTENT: Final = 256
_BATCH: Final = 512
# Seconds for the last ones; what is not there then is lost.
LAST_SPANS: Final = 2.0
_SCOPE: Final = "mlops_backend"
_NAMES: Final = frozenset({PARENT, STATE})
_NOTHING: Final = Heard()
_NO_CONTENT: Final[Mapping[str, str]] = MappingProxyType({})


class OtlpTraces(Traces):
    """The spans of this process, and their way to a collector.

    Args:
        settings: where they go, which of them, and whether content goes with them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.wants_content = settings.otel_capture_content
        self._most = _MOST_WAITING_WITH_CONTENT if self.wants_content else _MOST_WAITING
        self._words = Words()
        self._words.listen()
        self._exporter: Exporter | None = None
        self._batches: SpanProcessor | None = None
        self._ended = self._full = 0
        self.places = Places(settings.otel_traces_sampler, settings.otel_traces_sampler_arg)

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
        told = [pair for pair in headers if pair[0] in CARRY]
        if not told:
            return _SpanOfRequest(self, NOWHERE, INVALID_SPAN_CONTEXT)
        context = context_in(told)
        return _SpanOfRequest(self, context, get_current_span(context).get_span_context())

    def end(self, span: Ended) -> None:
        """Hand on a span, unless too many wait already."""
        if self._waiting >= self._most:
            self._full += 1
            return
        self._ended += 1
        if self._batches is not None:
            self._batches.on_end(span)

    async def open(self) -> None:
        """Start the thread that sends; a variable that the library cannot use leaves the service without traces."""
        settings = self._settings
        headers = headers_in(settings.otel_exporter_otlp_headers.get_secret_value())
        try:
            writer = Writer(_resource(settings), (_SCOPE, __version__))
            sender = Sender(traces_url(settings.otel_exporter_otlp_endpoint), headers=headers)
            exporter = Exporter(writer, sender, settings.otel_exporter_otlp_endpoint, self._words)
            self._batches = BatchSpanProcessor(
                exporter, max_queue_size=self._most, max_export_batch_size=min(_BATCH, self._most)
            )
        except ValueError as error:
            reason = without_keys(str(error))
            structlog.get_logger().warning("no traces: a variable of OpenTelemetry cannot be used", reason=reason)
            return
        self._exporter = exporter

    async def aclose(self) -> None:
        """Send what waits, for `LAST_SPANS` seconds; not in a thread of the loop, which would wait for its end."""
        exporter, batches = self._exporter, self._batches
        if exporter is None or batches is None:
            return
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            with suppress(Exception):
                batches.shutdown()
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=shut_down, name="last spans", daemon=True).start()
        with suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), LAST_SPANS)
        if left := self._waiting:
            self._full += left
            exporter.stop()
            structlog.get_logger().warning(
                "traces are lost: the collector did not take them in time", lost=left, reason=self._words.text
            )

    @property
    def _waiting(self) -> int:
        return self._ended - (0 if self._exporter is None else self._exporter.taken)


class _SpanOfRequest:
    """One request: of a generation a span, of any other the client's own place in its trace."""

    __slots__ = ("_content", "_context", "_heard", "_parent", "_span", "_traces")

    def __init__(self, traces: OtlpTraces, context: Context, parent: SpanContext) -> None:
        self._traces = traces
        self._context, self._parent = context, parent
        self._span: Place | None = None
        self._heard = _NOTHING
        self._content: Mapping[str, str] = _NO_CONTENT

    @property
    def id(self) -> str:
        """The trace's id."""
        return (self._span or self._clients()).id

    @property
    def example(self) -> str:
        """The trace's id for a metric's exemplar, where this span is kept."""
        return self._span.id if self._span is not None and self._span.kept else ""

    @property
    def wants_content(self) -> bool:
        """Whether what was asked and answered is told as well."""
        return self._traces.wants_content and (self._span is None or self._span.kept)

    def carried(self, record: RequestRecord, headers: Pairs) -> Pairs:
        """The headers with this span's context in the place of the client's; one that cannot be read goes nowhere."""
        place = self._begun() if record.generates else self._clients()
        return (*[pair for pair in headers if pair[0].lower() not in _NAMES], *place.headers())

    def hear(self, told: Mapping[str, Any]) -> None:
        """Take what an answer tells of itself."""
        if self._heard is _NOTHING:
            self._heard = Heard()
        self._heard.take(told)

    def note_asked(self, attributes: Mapping[str, str]) -> None:
        """Take what was asked."""
        self._content = {**self._content, **attributes}

    def note_answered(self, attributes: Mapping[str, str]) -> None:
        """Take what was answered."""
        self._content = {**self._content, **attributes}

    def end(self, record: RequestRecord, now: float) -> None:
        """End the span of a generation, with all that is known."""
        if not record.generates:
            return
        span = self._begun()
        if span.kept:
            self._traces.end(self._ended(span, record, now))

    def _ended(self, span: Place, record: RequestRecord, now: float) -> Ended:
        came = record.started
        return Ended(
            (span.trace, span.span, self._parent.span_id),
            span.state,
            common_of(record, self._heard),
            own_of(record, self._heard, self._content),
            record.at,
            (
                None if record.queued is None else record.queued - came,
                None if record.leased is None else record.leased - came,
                None if record.first_byte is None else record.first_byte - came,
                now - came,
            ),
        )

    def _begun(self) -> Place:
        if self._span is None:
            self._span = self._traces.places.placed(self._context, self._parent)
        return self._span

    def _clients(self) -> Place:
        """Where its client is."""
        return place_of(self._parent)


def is_disabled() -> bool:
    """Whether the environment turns the library off, which it tells by the kind of its tracers alone."""
    return isinstance(TracerProvider(shutdown_on_exit=False).get_tracer(_SCOPE), NoOpTracer)


def _resource(settings: Settings) -> Mapping[str, Any]:
    """This process, one of several workers or the only one, and what the environment says of it."""
    ours = {
        "service.name": settings.otel_service_name,
        "service.version": __version__,
        "service.instance.id": str(uuid4()),
    }
    return Resource.create(ours).attributes
