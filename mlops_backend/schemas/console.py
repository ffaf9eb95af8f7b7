"""Bodies of `/api/console`."""

from __future__ import annotations

from pydantic import Field

from mlops_backend.schemas.schema import Schema


class SessionResponse(Schema):
    """Who has signed in, and what they may."""

    id: str = Field(description="The key's id, as in usage and limits")
    name: str
    scopes: list[str]
    admin: bool
    models: list[str] = Field(description="Patterns of the models that the key may use; empty: all")
    signed_in: bool = Field(description="Whether there is a session; without one the key itself, or nobody, asks")
    csrf_token: str | None = Field(description="Sent as `X-CSRF-Token` with POST, PUT, PATCH and DELETE")
    expires_at: str | None = Field(description="When the session ends, in RFC 3339")
    version: str = Field(description="The service's version")
