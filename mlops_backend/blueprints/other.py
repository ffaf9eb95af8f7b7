"""Services that are not inference."""

from __future__ import annotations

from quart import Blueprint
from quart_schema import tag, validate_response

from mlops_backend.middleware.request_context import service
from mlops_backend.schemas.info import InfoResponse
from mlops_backend.services.other.info import InfoService

blueprint = Blueprint("other", __name__, url_prefix="/api/other")


@blueprint.get("/info")
@tag(["other"])
@validate_response(InfoResponse)
async def get_info() -> InfoResponse:
    """Say what runs here.

    Uptime, versions and feature switches.
    """
    return InfoResponse(**service(InfoService).describe())
