"""Bodies of `/api/admin/keys` and `/api/key`.

Whoever writes these is an administrator: a field that is not known is an error, for a misspelt limit would be none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, ConfigDict, Field

from mlops_backend.principal import HEAVIEST, LIGHTEST, ORDINARY, Priority, Rate, Scope
from mlops_backend.schemas.schema import Schema

MOST_METADATA: Final = 16 * 1024
LONGEST_OVERLAP: Final = 30 * 86400
_MOST_TOKENS: Final = 10**15
_LAST_YEAR: Final = 9000
_RATE: Final = r"^\s*[1-9][0-9]{0,14}\s*/\s*(second|minute|hour|day)(\s+burst\s+[1-9][0-9]{0,14})?\s*$"


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("must be printable, without spaces around it")
    return text


def _small(value: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(value)) > MOST_METADATA:
        raise ValueError(f"must not be larger than {MOST_METADATA} bytes as JSON")
    return value


def _written(value: Any) -> Any:
    if value is not None and not isinstance(value, str):
        raise ValueError("must be written as 2027-01-31T12:00:00Z")
    return value


def _in_our_times(value: datetime) -> datetime:
    if value.year > _LAST_YEAR:
        raise ValueError(f"must not be after the year {_LAST_YEAR}")
    return value


def _rate(text: str) -> str:
    return str(Rate.parse(text))


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Owner = Annotated[str, Field(max_length=200), AfterValidator(_printable)]
Scopes = Annotated[
    set[Annotated[Scope, Field(strict=False)]],
    Field(strict=False, min_length=1, description="What the key is good for"),
]
Pattern = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_printable)]
Models = Annotated[
    list[Pattern],
    Field(max_length=256, description="Names of models, or patterns such as `llama3*`; empty: every model"),
]
Class = Annotated[
    Priority,
    Field(strict=False, description="In the queue: `batch` gives way, whatever a request says"),
]
Weight = Annotated[
    float,
    Field(ge=LIGHTEST, le=HEAVIEST, description="Of a share in the queue: a key of 3 has three turns for one of 1"),
]
Cache = Annotated[
    bool,
    Field(description="Answers that are the same each time are kept for it, as if each request had `X-Cache: use`"),
]
RateText = Annotated[str, AfterValidator(_rate), Field(json_schema_extra={"pattern": _RATE}, examples=["60/minute"])]
Count = Annotated[int, Field(ge=1, le=_MOST_TOKENS)]
When = Annotated[
    AwareDatetime,
    BeforeValidator(_written, json_schema_input_type=str),
    Field(strict=False),
    AfterValidator(_in_our_times),
]
Metadata = Annotated[dict[str, Any], AfterValidator(_small)]


class _Body(Schema):
    model_config = ConfigDict(extra="forbid", strict=True)


class KeyLimits(_Body):
    """A key's own limits; `null` is no limit, what is left out is the service's default."""

    requests: RateText | None = Field(
        default=None, description="Generations, such as `60/minute` or `60/minute burst 10`"
    )
    tokens: RateText | None = Field(default=None, description="Prompt and completion together, such as `10000/minute`")
    tokens_per_day: Count | None = Field(default=None, description="In a day of the operator's zone")
    tokens_per_month: Count | None = Field(default=None, description="In a month of the operator's zone")
    concurrent: Count | None = Field(default=None, description="Generations at a time")


EndUserLimits = Annotated[
    KeyLimits,
    Field(description="Limits of each of the people for whom the key's client asks; what is left out is no limit"),
]


class CreateKeyRequest(_Body):
    """A key to make; only `name` is needed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "laptop",
                    "owner": "alice@example.org",
                    "scopes": ["inference", "models:read", "usage:read"],
                    "models": ["smollm2*"],
                    "limits": {"requests": "60/minute", "tokens_per_day": 200000},
                    "expires_at": "2099-01-31T12:00:00Z",
                }
            ]
        }
    )

    name: Name
    owner: Owner = ""
    scopes: Scopes = Field(default_factory=lambda: set(ORDINARY))
    models: Models = Field(default_factory=list)
    limits: KeyLimits = Field(default_factory=KeyLimits)
    end_user_limits: EndUserLimits = Field(default_factory=KeyLimits)
    priority: Class = Priority.INTERACTIVE
    weight: Weight = 1.0
    cache: Cache = False
    metadata: Metadata = Field(default_factory=dict, description="Anything that helps you")
    expires_at: When | None = None
    enabled: bool = True


class UpdateKeyRequest(_Body):
    """What is to change; what is left out stays. `models`, `metadata` and both kinds of limits are replaced whole."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": False}]})

    name: Name = ""
    owner: Owner = ""
    scopes: Scopes = Field(default_factory=set)
    models: Models = Field(default_factory=list)
    limits: KeyLimits = Field(default_factory=KeyLimits)
    end_user_limits: EndUserLimits = Field(default_factory=KeyLimits)
    priority: Class = Priority.INTERACTIVE
    weight: Weight = 1.0
    cache: Cache = False
    metadata: Metadata = Field(default_factory=dict)
    expires_at: When | None = Field(default=None, description="`null`: never")
    enabled: bool = True


class RotateKeyRequest(_Body):
    """How a key's old secret ends."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_seconds": 3600}]})

    overlap_seconds: int = Field(
        default=0, ge=0, le=LONGEST_OVERLAP, description="So long the old secret works beside the new"
    )


class ListKeysQuery(Schema):
    """Which keys are listed."""

    model_config = ConfigDict(extra="forbid")

    after: str | None = Field(None, max_length=32, description="The `next` of the page before")
    limit: int = Field(50, ge=1, le=200)
    owner: str | None = Field(None, max_length=200, description="Keys of this owner only")
    name: str | None = Field(None, max_length=200, description="Keys with this text in their name")
    revoked: bool = Field(False, description="Revoked keys too")
    newest: bool = Field(default=False, description="Newest first")


class KeyResponse(Schema):
    """A key, without its secret; times are RFC 3339 in UTC."""

    id: str
    name: str
    owner: str
    scopes: list[Scope]
    models: list[str]
    limits: Mapping[str, str | int | None]
    end_user_limits: Mapping[str, str | int | None]
    priority: Priority
    weight: float
    cache: bool
    metadata: dict[str, Any]
    enabled: bool
    state: Literal["active", "disabled", "expired", "revoked"]
    created_at: str
    expires_at: str | None
    revoked_at: str | None


class KeyWithSecretResponse(KeyResponse):
    """A key with its secret, which is shown this once."""

    key: str


class ConfiguredKey(Schema):
    """One of `API_KEYS`, which the service's settings alone can change."""

    id: str
    name: str


class KeyListResponse(Schema):
    """A page of keys; `next` continues it. `configured` are those of the settings, on every page."""

    keys: list[KeyResponse]
    next: str | None
    configured: list[ConfiguredKey]


class LimitLeft(Schema):
    """One limit of a key; of a rate no more than its burst can be left."""

    name: Literal["requests", "tokens", "tokens_per_day", "tokens_per_month", "concurrent"]
    limit: str | int = Field(description="As it is written")
    most: int = Field(description="What is left when nothing is used")
    remaining: int
    reset_seconds: int | None = Field(description="So long until all of it is left; `null`: nobody knows")


class KeyLeftResponse(Schema):
    """How a key stands with its limits at this moment; what is no limit is not there."""

    key_id: str
    limits: list[LimitLeft]


class OwnKeyResponse(Schema):
    """The key that asks; `limits` are those in force."""

    id: str
    name: str
    scopes: list[Scope]
    models: list[str]
    limits: Mapping[str, str | int | None]
    end_user_limits: Mapping[str, str | int | None]
    priority: Priority
    weight: float
    cache: bool
    expires_at: str | None
