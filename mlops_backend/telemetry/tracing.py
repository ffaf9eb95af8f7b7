"""Whether requests are traced: with an endpoint, and with the packages that it takes."""

from __future__ import annotations

from typing import Final

import structlog

from mlops_backend.config import Settings
from mlops_backend.telemetry.metrics import Metrics
from mlops_backend.telemetry.traces import NOBODY, Traces

_LIBRARY: Final = "opentelemetry"
_INSTALL: Final = "pip install --require-hashes -r requirements-tracing.txt"


def build_traces(settings: Settings, metrics: Metrics) -> Traces:
    """What tells of requests; where it lacks packages, a line of the log says so and nobody is told."""
    traces = _traces(settings)
    metrics.counter("spans_exported", "Spans that a collector took.", lambda: traces.exported)
    metrics.counter("spans_lost", "Spans that no collector took.", lambda: traces.lost)
    return traces


def _traces(settings: Settings) -> Traces:
    if not settings.otel_exporter_otlp_endpoint:
        return NOBODY
    try:
        from mlops_backend.telemetry.otlp import OtlpTraces, is_disabled
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != _LIBRARY:
            raise
        advice = f"OTEL_EXPORTER_OTLP_ENDPOINT is set, and {error.name} is not installed: {_INSTALL}"
        structlog.get_logger().warning("no traces: packages are missing", advice=advice)
        return NOBODY
    return NOBODY if is_disabled() else OtlpTraces(settings)
