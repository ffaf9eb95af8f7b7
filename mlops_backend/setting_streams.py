"""The settings of streams that outlive their connections."""

from __future__ import annotations

from pydantic import BaseModel, Field

_DAY = 86_400


class StreamSettings(BaseModel):
    """A part of `Settings`."""

    stream_grace: float = Field(default=30.0, ge=0.1, le=_DAY, allow_inf_nan=False)
    stream_ttl: float = Field(default=300.0, ge=1, le=30 * _DAY, allow_inf_nan=False)
    stream_bytes: int = Field(default=4_194_304, ge=65_536, le=2**31)
    stream_memory: int = Field(default=134_217_728, ge=1_048_576, le=2**40)
