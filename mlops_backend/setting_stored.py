"""The settings of what is stored: conversations, and responses of OpenAI's API."""

from __future__ import annotations

from pydantic import BaseModel, Field

_MOST_BYTES = 10**15


class StoredSettings(BaseModel):
    """A part of `Settings`."""

    conversations_per_key: int = Field(default=100_000, ge=1, le=10_000_000)
    conversation_messages: int = Field(default=2000, ge=2, le=100_000)
    conversation_bytes: int = Field(default=33_554_432, ge=1024, le=_MOST_BYTES)
    conversation_bytes_per_key: int = Field(default=1_073_741_824, ge=1024, le=_MOST_BYTES)
    responses_stored: bool = True
    responses_ttl_days: int = Field(default=30, ge=1, le=36500)
    responses_per_key: int = Field(default=10_000, ge=1, le=1_000_000)
    response_bytes: int = Field(default=8_388_608, ge=1024, le=_MOST_BYTES)
    response_bytes_per_key: int = Field(default=268_435_456, ge=1024, le=_MOST_BYTES)
