"""Conversations as a file: what an export is, and what an import takes."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema

from mlops_backend.schemas.conversations.bodies import MOST_IMAGES, ConversationSummary, MaybeTitle, Role, ToolName
from mlops_backend.schemas.llm import ListOf
from mlops_backend.schemas.schema import Schema

FORMAT: Final = "mlops_backend.conversations"
VERSION: Final = 1
# A reply may be longer than what anybody may send: an export is to be taken again.
LONGEST_KEPT: Final = 8 * 1024 * 1024
# Of one document: all of it is written in one transaction, which others wait for.
MOST_CONVERSATIONS: Final = 20_000
MOST_MESSAGES: Final = 50_000
_LAST_YEAR: Final = 9000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_RFC_3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def _milliseconds(value: Any) -> int:
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise ValueError("must be written as 2026-01-31T12:00:00.000Z")
    try:
        read = (datetime.fromisoformat(value.upper()) - _EPOCH) // _MILLISECOND
    except ValueError:
        raise ValueError("must be a time that there is") from None
    if not 0 <= read < _END:
        raise ValueError(f"must be between the years 1970 and {_LAST_YEAR}")
    return read


_END: Final = (datetime(_LAST_YEAR + 1, 1, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND


def _known_format(value: Any) -> Any:
    if value != FORMAT:
        raise ValueError(f"must be {FORMAT!r}: an export of conversations in JSON")
    return value


def _known_version(value: Any) -> Any:
    if type(value) is not int or value != VERSION:
        raise ValueError(f"this service reads version {VERSION} of the format")
    return value


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text


def _small(value: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if value and len(json.dumps(value)) > LONGEST_KEPT:
        raise ValueError(f"must not be larger than {LONGEST_KEPT} bytes as JSON")
    return value


def _texts(value: Any) -> Any:
    """The first that is none is enough: one error each would cost seconds."""
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError("must be an object of base64 texts, by the SHA-256 of what they stand for")
    return value


Time = Annotated[int, BeforeValidator(_milliseconds), WithJsonSchema({"type": "string", "format": "date-time"})]
Text = Annotated[str, Field(max_length=LONGEST_KEPT)]
Name = Annotated[str, Field(max_length=512), AfterValidator(_without_nul)]
Code = Annotated[str, Field(max_length=64), AfterValidator(_without_nul)]
ToolCalls = Annotated[ListOf[dict[str, Any]], AfterValidator(_small)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}\z", json_schema_extra={"pattern": "^[0-9a-f]{64}$"})]
Outcome = Literal["done", "refused", "error", "timeout", "client_gone", "drained", "cancelled"]
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
SmallCount = Annotated[int, Field(ge=0, le=2**31 - 1)]
OldId = Annotated[str, Field(max_length=64, description="What it was; an import makes a new one")]
_IMAGES: Final = {"type": "object", "additionalProperties": {"type": "string", "contentEncoding": "base64"}}
Images = Annotated[dict[str, str], BeforeValidator(_texts), WithJsonSchema(_IMAGES)]


class _Part(Schema):
    model_config = ConfigDict(extra="forbid", strict=True)


class ExportedMessage(_Part):
    """A message with all that is known of it; what has no value is left out."""

    id: OldId = ""
    role: Role
    content: Text = ""
    thinking: Text = ""
    images: Annotated[ListOf[Hash], Field(max_length=MOST_IMAGES, description="Names among the `images`")] = Field(
        default_factory=list
    )
    tool_calls: ToolCalls = Field(default_factory=list)
    tool_name: ToolName = ""
    created_at: Time
    model: Name = ""
    outcome: Outcome | None = None
    error: Code = ""
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    tokens_estimated: bool = False
    first_byte_ms: SmallCount | None = None
    total_ms: Count | None = None
    omitted_messages: SmallCount = 0
    replaced_at: Time | None = Field(None, description="Since when another reply stands in its place")


class ExportedConversation(_Part):
    """A conversation, oldest message first, with the images that its messages show."""

    id: OldId = ""
    title: MaybeTitle = ""
    model: Name = ""
    created_at: Time
    updated_at: Time
    messages: Annotated[ListOf[ExportedMessage], Field(max_length=MOST_MESSAGES)] = Field(default_factory=list)
    images: Images = Field(default_factory=dict, description="In base64, each by the SHA-256 of its bytes")


def _not_too_many(value: Any) -> Any:
    """Counted before each is looked at, which takes longer than to make an answer of it."""
    told = [each.get("messages") for each in value if isinstance(each, dict)] if isinstance(value, list) else []
    if len(told) > MOST_CONVERSATIONS or sum(len(each) for each in told if isinstance(each, list)) > MOST_MESSAGES:
        raise ValueError(
            f"must be at most {MOST_CONVERSATIONS}, with {MOST_MESSAGES} messages together: take the file apart"
        )
    return value


class ConversationsDocument(_Part):
    """Conversations as a file."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "format": FORMAT,
                    "version": VERSION,
                    "conversations": [
                        {
                            "title": "About colours",
                            "model": "smollm2:135m",
                            "created_at": "2026-01-31T12:00:00.000Z",
                            "updated_at": "2026-01-31T12:00:02.000Z",
                            "messages": [
                                {
                                    "role": "user",
                                    "content": "Name a colour.",
                                    "created_at": "2026-01-31T12:00:00.000Z",
                                },
                                {
                                    "role": "assistant",
                                    "content": "Blue.",
                                    "created_at": "2026-01-31T12:00:02.000Z",
                                    "model": "smollm2:135m",
                                    "outcome": "done",
                                },
                            ],
                            "images": {},
                        }
                    ],
                }
            ]
        }
    )

    format: Annotated[Literal["mlops_backend.conversations"], BeforeValidator(_known_format)]
    version: Annotated[Literal[1], BeforeValidator(_known_version)]
    conversations: Annotated[
        ListOf[ExportedConversation], Field(max_length=MOST_CONVERSATIONS), BeforeValidator(_not_too_many)
    ]


class ImportedResponse(Schema):
    """What was made, in the order of the document."""

    conversations: list[ConversationSummary]


class ExportQuery(Schema):
    """How a file is written."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["json", "markdown"] = Field("json", description="`json` can be imported; `markdown` is to be read")
