"""The settings of the console."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ConsoleSettings(BaseModel):
    """A part of `Settings`."""

    console_enabled: bool = True
    console_session_seconds: int = Field(default=28_800, ge=60, le=2_592_000)
