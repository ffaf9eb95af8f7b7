"""Answers of `/api/llm/queue`."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from mlops_backend.schemas.schema import Schema


class WaitingGeneration(Schema):
    """One of your generations that waits for a backend."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    class_: Literal["interactive", "batch"] = Field(alias="class")
    ahead: int = Field(description="so many come before it, if nothing else comes")
    waited_seconds: float
    expected_seconds: float = Field(description="how much longer, by what the last generations took")


class BackendSlots(Schema):
    """One backend's slots, for administrators."""

    name: str = Field(description="as `/api/admin/backends` has it")
    running: int
    max_concurrency: int | None = Field(description="none: as many as come")
    waiting: int = Field(description="so many would take a slot of it")


class WaitingKey(Schema):
    """How many generations of a key wait, for administrators."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    key_id: str
    class_: Literal["interactive", "batch"] = Field(alias="class")
    waiting: int
    longest_waited_seconds: float


class QueueResponse(Schema):
    """The queue before the backends: all of it in numbers, and your own places."""

    running: int
    waiting: int
    max_waiting: int
    own: list[WaitingGeneration]
    waiting_by: list[WaitingKey] | None = Field(None, description="for administrators: of each key and class")
    backends: list[BackendSlots] | None = None
