"""Bodies of `/api/admin/log-level`."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import ConfigDict, Field

from mlops_backend.schemas.schema import Schema

LONGEST: Final = 7 * 86_400

Name = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class LogLevelRequest(Schema):
    """The level that is to hold."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"level": "DEBUG", "seconds": 300}]}
    )

    level: Name
    seconds: float | None = Field(
        default=None,
        ge=1,
        le=LONGEST,
        description="For how long, then `LOG_LEVEL` holds again; without it until it is changed, or the service ends",
    )


class LogLevelResponse(Schema):
    """The level that holds."""

    level: Name
    configured: Name = Field(description="`LOG_LEVEL`")
    seconds_left: float | None = Field(
        description="In how many seconds `configured` holds again; `null`: not by itself"
    )
