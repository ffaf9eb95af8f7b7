"""Bodies of `/api/database/conversations`."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, field_validator

from mlops_backend.schemas.llm import Generating, ListOf
from mlops_backend.schemas.schema import Schema

LONGEST_TEXT: Final = 1024 * 1024
LONGEST_TITLE: Final = 200
MOST_IMAGES: Final = 16
MOST_MESSAGES: Final = 10_000
_LONGEST_CURSOR: Final = 64


# Joiners make one sign of several, as in many emoji, or keep apart the letters of one word; the others are spaces.
_AS_GOOD_AS_PRINTABLE: Final = str.maketrans("", "", "\u200c\u200d\u00a0\u202f\u3000")


def is_line(text: str) -> bool:
    """Whether a text can be shown on one line."""
    return text.translate(_AS_GOOD_AS_PRINTABLE).isprintable()


def _one_line(text: str) -> str:
    if not is_line(text) or text != text.strip():
        raise ValueError("must be one printable line, without spaces around it")
    return text


def _small(value: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(json.dumps(value)) > LONGEST_TEXT:
        raise ValueError(f"must not be larger than {LONGEST_TEXT} bytes as JSON")
    return value


MaybeTitle = Annotated[str, Field(max_length=LONGEST_TITLE), AfterValidator(_one_line)]
Title = Annotated[MaybeTitle, Field(min_length=1)]
ModelName = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_one_line)]
Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
Images = Annotated[
    ListOf[str],
    Field(max_length=MOST_IMAGES, description="PNG, JPEG, GIF or WebP in base64, without a data: prefix"),
]
ToolCalls = Annotated[ListOf[dict[str, Any]], AfterValidator(_small)]
ToolName = Annotated[str, Field(max_length=256)]
Role = Literal["system", "user", "assistant", "tool"]


class _Body(Schema):
    model_config = ConfigDict(extra="forbid", strict=True)


class MessageRequest(_Body):
    """A message to keep."""

    role: Role
    content: Text = ""
    thinking: Text = ""
    images: Images = Field(default_factory=list)
    tool_calls: ToolCalls = Field(default_factory=list)
    tool_name: ToolName = ""


Messages = Annotated[ListOf[MessageRequest], Field(max_length=MOST_MESSAGES)]


class CreateConversationRequest(_Body):
    """A conversation to begin; everything may be left out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"messages": [{"role": "system", "content": "You answer in one sentence."}]}],
        }
    )

    title: Title | None = Field(None, description="Made from the first message of a user when it is left out")
    model: ModelName | None = Field(None, description="For the replies, where a request names none")
    messages: Messages = Field(default_factory=list)


class ChangeConversationRequest(_Body):
    """What is to change; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"title": "About colours"}]})

    title: Title | None = None
    model: ModelName | None = None


class AppendRequest(_Body):
    """Messages to put at the end; no model is asked."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"messages": [{"role": "user", "content": "Name a colour."}]}]}
    )

    messages: Annotated[Messages, Field(min_length=1)]


class TruncateRequest(_Body):
    """Where the conversation is to end."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"after": None}]})

    after: str | None = Field(max_length=32, description="The last message to stay; `null`: none stays")


class RegenerateRequest(Generating):
    """How the last reply is to be made anew."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"options": {"num_predict": 60, "temperature": 1}}]}
    )

    tools: ListOf[dict[str, Any]] | None = None
    stream: bool = Field(True, description="`false`: the reply comes whole")


class AskRequest(RegenerateRequest):
    """A message, and how it is to be replied to; what a model takes is passed on to it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"content": "Name three colours.", "options": {"temperature": 0, "num_predict": 60}}]
        }
    )

    role: Literal["user", "tool"] = Field("user", description="`tool`: what a tool that was called has answered")
    tool_name: ToolName = ""
    images: Images = Field(default_factory=list)
    content: Text = Field("", validate_default=True)

    @field_validator("content")
    @classmethod
    def _says_something(cls, content: str, checked: ValidationInfo) -> str:
        if checked.data.get("role") == "user" and checked.data.get("images") == [] and not content.strip():
            raise ValueError("must not be empty where there are no images")
        return content


OWN_FIELDS: Final = frozenset({"content", "images", "role", "tool_name", "stream"})


class ListConversationsQuery(Schema):
    """Which conversations are listed."""

    model_config = ConfigDict(extra="forbid")

    after: str | None = Field(None, max_length=_LONGEST_CURSOR, description="The `next` of the page before")
    limit: int = Field(50, ge=1, le=200)
    search: str | None = Field(
        None, max_length=200, description='Words that all occur in one message or in the title; `"a phrase"`, `begin*`'
    )


class ReadConversationQuery(Schema):
    """What is shown of a conversation."""

    model_config = ConfigDict(extra="forbid")

    replaced: bool = Field(False, description="Replies that were replaced, too")


class VersionHeaders(Schema):
    """Which version of a conversation is to be changed."""

    if_match: str | None = Field(None, description="An `ETag`: when the conversation is at another version, 412")


class ImageResponse(Schema):
    """An image of a message: at `/api/database/conversations/{id}/images/{hash}`."""

    hash: str
    media_type: str
    size: int


class MessageResponse(Schema):
    """A message as it is kept; what has no value is left out."""

    id: str
    role: Role
    content: str
    thinking: str | None = None
    images: list[ImageResponse]
    tool_calls: list[dict[str, Any]] | None = None
    tool_name: str | None = None
    created_at: str
    model: str | None = None
    outcome: str | None = Field(None, description="Of a reply: `done`, or how it was cut short")
    error: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    tokens_estimated: bool | None = None
    first_byte_ms: int | None = None
    total_ms: int | None = None
    omitted_messages: int | None = Field(None, description="How many messages the model was not shown")
    replaced_at: str | None = None


class MatchResponse(Schema):
    """Where a search found its words; `message_id` is `null` for the title."""

    message_id: str | None
    excerpt: str


class ConversationSummary(Schema):
    """A conversation without its messages; times are RFC 3339 in UTC."""

    id: str
    title: str
    model: str
    created_at: str
    updated_at: str
    version: int
    message_count: int
    match: MatchResponse | None = None


class ConversationResponse(ConversationSummary):
    """A conversation, oldest message first."""

    messages: list[MessageResponse]


class ConversationListResponse(Schema):
    """A page of conversations, the newest first; `next` continues it."""

    conversations: list[ConversationSummary]
    next: str | None


class DeletedResponse(Schema):
    """How many conversations there were."""

    deleted: int


class AppendedResponse(Schema):
    """What was put at the end."""

    messages: list[MessageResponse]
    version: int


class ReplyPlace(Schema):
    """What became of a reply: in the last object of its answer."""

    id: str
    version: int
    message_id: str
    reply_id: str | None
    omitted_messages: int
    stored: bool


class ReplyResponse(Schema):
    """A reply as `/api/llm/chat` gives it; its last or only object says where it is kept."""

    model_config = ConfigDict(extra="allow")

    model: str
    created_at: str
    message: dict[str, Any]
    done: bool
    conversation: ReplyPlace | None = None
