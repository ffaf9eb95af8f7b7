"""Bodies of `/v1/responses/…`: what is told of stored responses, in OpenAI's words."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from mlops_backend.schemas.schema import Schema


class StoredResponseResponse(Schema):
    """A response as its client got it; all of its members are OpenAI's, or its backend's."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: Literal["response"]
    output: list[dict[str, Any]]


class DeletedResponseResponse(Schema):
    """That a response is deleted."""

    id: str
    object: Literal["response"] = "response"
    deleted: bool = True


class DeletedResponsesResponse(Schema):
    """How many responses there were."""

    deleted: int


class ListInputItemsQuery(Schema):
    """Which items are listed; other parameters of OpenAI's mean nothing here."""

    after: str | None = Field(None, max_length=256, description="The `last_id` of the page before")
    limit: int = Field(20, ge=1, le=100)
    order: Literal["asc", "desc"] = "desc"


class InputItemsResponse(Schema):
    """A page of the items that a response was asked with."""

    object: Literal["list"] = "list"
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool
