"""Bodies of the routes about the service itself, and of every error."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class ServiceResponse(BaseModel):
    """Name, version and where to go."""

    name: str
    version: str
    links: dict[str, str]


class HealthResponse(BaseModel):
    """The process runs."""

    status: Literal["ok"]
    version: str


class ReadyResponse(BaseModel):
    """Whether a generation would be taken now; 503 when not. `degraded` says what else does not work."""

    status: Literal["ready", "not_ready"]
    reason: str | None = None
    degraded: str | None = None


class ErrorDetail(BaseModel):
    """One thing that is wrong with a body."""

    loc: list[Any]
    msg: str
    type: str


class ErrorResponse(BaseModel):
    """Every error of our own routes."""

    error: str
    code: str
    request_id: str
    details: list[ErrorDetail] | None = None
