"""Answers of `/api/admin/backends`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mlops_backend.schemas.schema import Schema


class BackendResponse(Schema):
    """One backend: how it is, and what is said of it."""

    name: str = Field(description="Its name in `BACKENDS_FILE`; else its address")
    url: str = Field(description="Its address; credentials in it are masked")
    kind: Literal["ollama", "openai"]
    source: Literal["settings", "file"] = Field(description="Where it is named")
    reachable: bool
    version: str
    latency_ms: float
    error: str | None = Field(description="Why it is not reachable, or tells no models")
    note: str | None = Field(description="What is missing although it answers")
    models: int = Field(description="How many models it tells")
    loaded: list[str] | None = Field(
        description="Models that an Ollama has loaded; `null`: it did not say, or was not asked"
    )
    drained: bool = Field(description="Whether it gets no new generation")
    max_concurrency: int | None = Field(description="Generations at once; `null`: as many as come")
    weight: float
    tags: list[str]


class BackendListResponse(Schema):
    """All backends, in the operator's order."""

    backends: list[BackendResponse]
    file_error: str | None = Field(description="Why `BACKENDS_FILE` as it is now is not in use; `null`: it is")
