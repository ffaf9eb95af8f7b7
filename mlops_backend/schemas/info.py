"""Bodies of `/api/other/info`."""

from __future__ import annotations

from mlops_backend.schemas.schema import Schema


class InfoResponse(Schema):
    """Uptime, versions and feature switches."""

    version: str
    python: str
    libraries: dict[str, str]
    uptime_seconds: float
    started_at: str
    features: dict[str, bool]
