"""The settings of the response cache."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class CacheSettings(BaseModel):
    """A part of `Settings`; bytes and seconds."""

    response_cache: Literal["off", "on-request", "deterministic"] = "on-request"
    cache_ttl: int = Field(default=3600, ge=1, le=2_592_000)
    cache_memory: int = Field(default=67_108_864, ge=65_536, le=10**12)
    cache_entry_bytes: int = Field(default=1_048_576, ge=1024, le=268_435_456)
    cache_shared: bool = False
