"""Spans as they are written: byte for byte what OpenTelemetry's own library would make of them."""

from __future__ import annotations

from typing import Any, Final

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from mlops_backend.telemetry.gen_ai import Common, Heard, common_of, own_of
from mlops_backend.telemetry.otlp_spans import Ended, Writer
from tests.unit.telemetry.test_gen_ai import record_with

SCOPE: Final = ("mlops_backend", "1.2.3")
RESOURCE: Final[dict[str, Any]] = {
    "service.name": "ours",
    "replicas": 3,
    "weight": 0.5,
    "new": True,
    "zones": ("a", "b"),
}
CAME: Final = 1_800_000_000.0
MOMENTS: Final = {"queued": 0.25, "leased": 0.5, "first_token": 1.0}
DONE: Final[dict[str, Any]] = {
    "asked_path": "/v1/chat/completions",
    "model": "llama3.2:1b",
    "route": "/v1/chat/completions",
    "provider": "ollama",
    "backend": "http://127.0.0.1:11434",
    "upstream_url": "http://127.0.0.1:11434/api/chat",
    "streams": True,
    "sent_upstream": 5.0,
    "first_byte": 5.5,
    "prompt_tokens": 7,
    "completion_tokens": 9,
    "estimated": True,
}
FAILED: Final = DONE | {"outcome": "error", "error": "backend_vanished", "passed_over": ("http://127.0.0.1:1", "x")}
LIMITS: Final = {
    "none": {},
    "short values": {"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "4"},
    "short values, said of all": {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "5"},
    "few attributes": {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "8"},
    "very few": {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "2"},
    "no attributes": {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "0"},
    "few events": {"OTEL_SPAN_EVENT_COUNT_LIMIT": "2"},
    "no events": {"OTEL_SPAN_EVENT_COUNT_LIMIT": "0"},
}
BELOW: Final = SpanContext(
    0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, True, TraceFlags(1), TraceState([("vendor", "x")])
)


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("parent", [None, BELOW], ids=["alone", "below a client's"])
@pytest.mark.parametrize("fields", [DONE, FAILED], ids=["done", "failed"])
def test_a_span_is_written_as_the_library_would(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], parent: SpanContext | None, limits: dict[str, str]
) -> None:
    """With its events, its status, its parent, and within the limits that the environment sets."""
    for name, value in limits.items():
        monkeypatch.setenv(name, value)
    heard = Heard()
    heard.take({"id": "chatcmpl-1", "model": "llama3.2", "choices": [{"index": 0, "finish_reason": "stop"}]})
    record = record_with(**fields)
    common, own = common_of(record, heard), own_of(record, heard, {"gen_ai.input.messages": "[]"})
    theirs, place = written_by_the_library(common, own.attributes(), parent)
    ended = Ended(
        (place.trace_id, place.span_id, 0 if parent is None else parent.span_id),
        place.trace_state.to_header(),
        common,
        own,
        CAME,
        (MOMENTS["queued"], MOMENTS["leased"], MOMENTS["first_token"], 2.0),
    )
    ours = Writer(RESOURCE, SCOPE).written([ended])
    assert sorted_request(ours) == sorted_request(theirs)


def test_what_is_alike_is_written_once_for_many() -> None:
    """And each has what is its own."""
    ended = [
        Ended((1, number, 0), "", common_of(record, Heard()), own_of(record, Heard()), CAME, (None, None, None, 1.0))
        for number in range(1, 4)
        for record in [record_with(**DONE | {"id": f"r{number}"})]
    ]
    request = ExportTraceServiceRequest.FromString(Writer(RESOURCE, SCOPE).written(ended))
    spans = request.resource_spans[0].scope_spans[0].spans
    ids = [pair.value.string_value for span in spans for pair in span.attributes if pair.key.endswith("request_id")]
    assert ids == ["r1", "r2", "r3"]
    assert [int.from_bytes(span.span_id) for span in spans] == [1, 2, 3]
    assert {span.name for span in spans} == {"chat llama3.2:1b"}


@pytest.mark.parametrize("value", ["many", "-1"])
def test_a_limit_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Before anything is written."""
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", value)
    with pytest.raises(ValueError, match="OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"):
        Writer(RESOURCE, SCOPE)


def written_by_the_library(
    common: Common, own: dict[str, Any], parent: SpanContext | None
) -> tuple[bytes, SpanContext]:
    """The same span, made by a tracer, and its place."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource(RESOURCE), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    context = None if parent is None else set_span_in_context(NonRecordingSpan(parent))
    name = f"{common.operation} {common.asked_model}"
    span = provider.get_tracer(*SCOPE).start_span(name, context, SpanKind.CLIENT, start_time=int(CAME * 1e9))
    for key, value in [*common.attributes().items(), *own.items()]:
        span.set_attribute(key, value)
    for event, after in [*MOMENTS.items(), (common.outcome, 2.0)]:
        span.add_event(event, timestamp=int((CAME + after) * 1e9))
    if common.failure:
        span.set_status(Status(StatusCode.ERROR, common.failure))
    span.end(int((CAME + 2.0) * 1e9))
    return encode_spans(kept.get_finished_spans()).SerializeToString(), span.get_span_context()


def sorted_request(body: bytes) -> ExportTraceServiceRequest:
    """What a request says, its attributes by their names."""
    request: ExportTraceServiceRequest = ExportTraceServiceRequest.FromString(body)
    for told in request.resource_spans:
        for span in told.scope_spans[0].spans:
            span.attributes.sort(key=lambda pair: pair.key)
    return request
