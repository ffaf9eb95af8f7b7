"""What monitoring reads."""

from __future__ import annotations

from quart import Blueprint, Response
from quart_schema import tag

from mlops_backend.middleware.request_context import service
from mlops_backend.openapi import document_media_types
from mlops_backend.services.other.whole import Whole
from mlops_backend.telemetry.metrics import Metrics

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@tag(["service"])
@document_media_types(200, "text/plain")
async def read_metrics() -> Response:
    """Tell how the service is, in Prometheus's text format.

    Running generations, the ledger's buffer, the limits that could not be checked, whether database and Redis answer.
    Of all workers that `WORKERS` starts, whichever answers; other processes are scraped one by one.
    """
    return Response(await service(Whole).metrics(), content_type=Metrics.content_type)
