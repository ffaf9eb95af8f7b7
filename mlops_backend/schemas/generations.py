"""Answers of `/api/llm/generations`."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from mlops_backend.schemas.schema import Schema


class RunningGeneration(Schema):
    """A generation that runs, or waits to."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    id: str = Field(description="the request's `X-Request-ID`; a client may choose it, so several may share one")
    key_id: str
    key_name: str
    route: str
    model: str
    backend: str | None = Field(None, description="for administrators")
    class_: Literal["interactive", "batch"] = Field(alias="class")
    state: Literal["queued", "asked", "answering"] = Field(
        description="waits for a backend; the backend loads the model or reads the prompt; it answers"
    )
    started_at: str
    seconds: float
    bytes_out: int


class RunningResponse(Schema):
    """The generations that run or wait, the oldest first, a thousand at most."""

    generations: list[RunningGeneration]
    count: int


class EndedResponse(Schema):
    """How many generations were ended."""

    ended: int
