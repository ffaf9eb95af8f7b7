"""A collector of OpenTelemetry on a real socket: it takes OTLP over HTTP, and keeps the spans."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.fakes.http11 import Connection, Reply, Request
from tests.fakes.server import RecordingServer


@dataclass(frozen=True)
class Span:
    """One span, with Python's values; times are nanoseconds since the epoch, ids hexadecimal."""

    name: str
    kind: int
    trace_id: str
    id: str
    parent_id: str
    state: str
    start: int
    end: int
    attributes: dict[str, Any]
    events: list[tuple[str, int]]
    failed: bool
    status: str
    resource: dict[str, Any]


@dataclass(kw_only=True, eq=False)
class FakeCollector(RecordingServer):
    """The collector; `status` is what it answers, and `silent` has it answer nothing."""

    status: int = 200
    silent: bool = False
    spans: list[Span] = field(init=False, default_factory=list)

    def counts(self, request: Request) -> bool:
        """Count all."""
        return True

    async def answer(self, connection: Connection, request: Request) -> None:
        """Take the spans."""
        if self.silent:
            await connection.hung_up()
            return
        assert (request.method, request.path) == ("POST", "/v1/traces")
        assert request.header("content-type") == "application/x-protobuf"
        if self.status == 200:
            packed = request.header("content-encoding") == "gzip"
            self.spans += spans_in(gzip.decompress(request.body) if packed else request.body)
        await connection.send(Reply(self.status, "application/x-protobuf", b""))


def spans_in(body: bytes) -> list[Span]:
    """What an export holds."""
    export = ExportTraceServiceRequest.FromString(body)
    return [
        _span(span, _values(told.resource.attributes))
        for told in export.resource_spans
        for scope in told.scope_spans
        for span in scope.spans
    ]


def _span(span: ProtoSpan, resource: dict[str, Any]) -> Span:
    return Span(
        name=span.name,
        kind=span.kind,
        trace_id=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        state=span.trace_state,
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes=_values(span.attributes),
        events=[(event.name, event.time_unix_nano) for event in span.events],
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        status=span.status.message,
        resource=resource,
    )


def _values(pairs: Any) -> dict[str, Any]:
    told: list[KeyValue] = list(pairs)
    return {pair.key: _value(pair.value) for pair in told}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, str(kind))
