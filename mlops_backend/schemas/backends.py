"""Answers of `/api/admin/backends`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mlops_backend.schemas.schema import Schema


class LoadedModel(Schema):
    """A model in the memory of an Ollama; what it does not tell is `null`."""

    name: str
    bytes: int | None = Field(description="What it takes in all")
    vram_bytes: int | None = Field(description="How much of that is the memory of graphics cards")
    context_length: int | None = Field(description="Tokens, prompt and reply together")
    expires_at: str | None = Field(description="When it is unloaded if nobody asks for it")


class BreakerResponse(Schema):
    """Whether a backend is left alone, since it could not be reached."""

    state: Literal["closed", "open", "half-open"] = Field(
        description="It is asked; it is left alone; the next request tries it"
    )
    seconds: float = Field(description="For how long it is left alone still")
    openings: int = Field(description="How often in a row it was found to be away")


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
    loaded_models: list[LoadedModel] | None = Field(description="The same with what they take")
    breaker: BreakerResponse
    drained: bool = Field(description="Whether it gets no new generation")
    max_concurrency: int | None = Field(description="Generations at once; `null`: as many as come")
    weight: float
    tags: list[str]


class BackendListResponse(Schema):
    """All backends, in the operator's order."""

    backends: list[BackendResponse]
    file_error: str | None = Field(description="Why `BACKENDS_FILE` as it is now is not in use; `null`: it is")
