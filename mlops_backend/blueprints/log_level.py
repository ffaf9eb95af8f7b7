"""The level of the log, for administrators."""

from __future__ import annotations

from quart import Blueprint
from quart.typing import ResponseReturnValue
from quart_schema import document_response, tag, validate_request

from mlops_backend.middleware.request_context import record, service
from mlops_backend.schemas.log_level import LogLevelRequest, LogLevelResponse
from mlops_backend.services.other.log_level import LogLevel

blueprint = Blueprint("log_level", __name__, url_prefix="/api/admin/log-level")


@blueprint.get("")
@tag(["service"])
@document_response(LogLevelResponse, 200)
async def get_log_level() -> ResponseReturnValue:
    """Say at which level the service logs.

    It is `LOG_LEVEL`, unless an administrator has changed it since the start.
    """
    return service(LogLevel).shown()


@blueprint.put("")
@tag(["service"])
@document_response(LogLevelResponse, 200)
@validate_request(LogLevelRequest)
async def set_log_level(data: LogLevelRequest) -> ResponseReturnValue:
    """Log at another level.

    It holds in all workers of the service, in those that start later too, and for `seconds` where they are given; other
    replicas have to be told themselves.
    """
    record().target = data.level
    return await service(LogLevel).change(data.level, data.seconds)
