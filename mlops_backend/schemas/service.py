"""Bodies of the routes about the service itself, and of every error."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from mlops_backend.schemas.schema import Schema


class ServiceResponse(Schema):
    """Name, version and where to go."""

    name: str
    version: str
    links: dict[str, str]


class HealthResponse(Schema):
    """The process runs."""

    status: Literal["ok"]
    version: str


class ReadyResponse(Schema):
    """Whether a generation would be taken now; 503 when not. `degraded` says what else does not work."""

    status: Literal["ready", "not_ready"]
    reason: str | None = None
    degraded: str | None = None


class ErrorDetail(Schema):
    """One thing that is wrong with a body."""

    loc: list[Any]
    msg: str
    type: str


class ErrorResponse(Schema):
    """Every error of our own routes."""

    error: str
    code: str
    request_id: str
    details: list[ErrorDetail] | None = None


class OllamaErrorResponse(Schema):
    """An error of Ollama's routes: a server's own has `error`, a refusal of this service the others too."""

    model_config = ConfigDict(extra="allow")

    error: str
    code: str | None = None
    request_id: str | None = None
    details: list[ErrorDetail] | None = None


class OpenAIErrorResponse(Schema):
    """An error of OpenAI's routes: `error` has `message`, `type`, `param` and `code`, unless a backend has its own."""

    model_config = ConfigDict(extra="allow")


class AnthropicErrorResponse(Schema):
    """An error of Anthropic's routes: `error` has `type` and `message`, unless a backend has its own."""

    model_config = ConfigDict(extra="allow")
