"""What monitoring reads."""

from __future__ import annotations

from quart import Blueprint, Response, request
from quart_schema import tag

from mlops_backend.middleware.request_context import service
from mlops_backend.openapi import document_media_types
from mlops_backend.services.other.whole import Whole

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@tag(["service"])
@document_media_types(200, "text/plain", "application/openmetrics-text")
async def read_metrics() -> Response:
    """Tell how the service is, in Prometheus's text format, or in OpenMetrics where that is accepted.

    Generations, tokens and times by model, OpenTelemetry's names for them where there are some; the queue, the
    backends, the ledger, the limits, the event loop. Of all workers that `WORKERS` starts, whichever answers; other
    processes are scraped one by one.
    """
    text, content_type = await service(Whole).metrics(", ".join(request.headers.getlist("Accept")))
    return Response(text, content_type=content_type)
