"""Questions about usage, and their answers."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema

from mlops_backend.schemas.schema import Schema

MOST_ROWS: Final = 1000
MOST_TOP: Final = 50
DONE: Final = "done"
_WRITTEN: Final = "write it as 2026-01-31, 2026-01-31T12:00:00Z (a + as %2B), or in seconds since 1970"
_LAST: Final = datetime(9999, 1, 1, tzinfo=UTC)


class Dimension(StrEnum):
    """What usage may be told apart by."""

    KEY = "key"
    MODEL = "model"
    BACKEND = "backend"
    OUTCOME = "outcome"
    DIALECT = "dialect"
    ROUTE = "route"
    END_USER = "end_user"


class Interval(StrEnum):
    """How long each row of a series is."""

    NONE = "none"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


def moment(value: Any) -> Any:
    """A time in milliseconds since the epoch, or as it was written where it names no zone.

    Raises:
        ValueError: it is neither in seconds since the epoch nor as ISO 8601 has it, or not between 1970 and 9999.
    """
    if isinstance(value, int | datetime):
        return value
    if not isinstance(value, str):
        raise ValueError(_WRITTEN)
    try:
        read = None if value.replace(".", "", 1).isdecimal() else datetime.fromisoformat(value)
        seconds = float(value) if read is None else (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(_WRITTEN) from None
    if not 0 <= seconds <= _LAST.timestamp():
        raise ValueError("must be between the years 1970 and 9999")
    return round(seconds * 1000) if read is None or read.tzinfo else read


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text


def _parts(value: Any) -> Any:
    """`a,b` and `a`, `b` given apart; none of them twice."""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list):
        return value
    return list(dict.fromkeys(part.strip() for text in parts for part in str(text).split(",") if part.strip()))


_TIME: Final = {"type": "string", "examples": ["2026-01-31", "2026-01-31T12:00:00Z", "1769860800"]}
Time = Annotated[int | datetime, BeforeValidator(moment), WithJsonSchema(_TIME)] | None
Text = Annotated[str, AfterValidator(_without_nul), Field(max_length=1024)] | None


class GenerationsQuery(Schema):
    """Which generations."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    start: Time = Field(None, alias="from", description="Default: the operator's midnight, 30 days before `to`")
    end: Time = Field(None, alias="to", description="Those that started before; default: now")
    model: Text = Field(None, description="As the client named it, or the model that stands behind that name")
    backend: Text = Field(None, description="Its address")
    outcome: Text = Field(
        None,
        description="`done`, `refused`, `error`, `timeout`, `client_gone`, `drained`, `cancelled`; several with commas",
    )
    dialect: Text = Field(None, description="`ollama`, `openai` or `anthropic`")
    route: Text = Field(None, description="Such as `/v1/chat/completions`")
    end_user: Text = Field(None, description="For whom the client said that it asked, in its words or as it is written")


class UsageQuery(GenerationsQuery):
    """Which generations, and how they are added up."""

    group_by: Annotated[list[Dimension], BeforeValidator(_parts)] = Field(
        [], description="Any of `key`, `model`, `backend`, `outcome`, `dialect`, `route`, `end_user`, with commas"
    )
    interval: Interval = Field(Interval.NONE, description="A series by hour, day or month of the operator's zone")
    top: int | None = Field(
        None, ge=1, le=MOST_TOP, description="So many of the largest groups; all others are one, whose `rest` is true"
    )
    limit: int = Field(MOST_ROWS, ge=1, le=MOST_ROWS, description="Rows at most; `truncated` says that there are more")


class AnyGenerationsQuery(GenerationsQuery):
    """Which generations of which key."""

    key: Text = Field(None, description="A key's id")


class AnyUsageQuery(UsageQuery):
    """Which generations of which key, and how they are added up."""

    key: Text = Field(None, description="A key's id")


class UsageAmounts(Schema):
    """Sums; `estimated` of the generations have counts that are guesses. `price` is a decimal number."""

    generations: int
    estimated: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    total_ms: int
    bytes_in: int
    bytes_out: int
    price: str


class UsageRow(UsageAmounts):
    """One group; it has what it was asked to be told apart by, and `start` in a series; with `top`, `rest`, too."""

    start: str | None = None
    key: str | None = None
    name: str | None = None
    model: str | None = None
    backend: str | None = None
    outcome: str | None = None
    dialect: str | None = None
    route: str | None = None
    end_user: str | None = None
    rest: bool | None = None


class UsageResponse(Schema):
    """Usage from `from` to before `to`; `total` is all of it, whatever `rows` holds."""

    start: str = Field(alias="from")
    end: str = Field(alias="to")
    interval: Interval
    group_by: list[Dimension]
    rows: list[UsageRow]
    total: UsageAmounts
    truncated: bool
    hourly_from: str | None = Field(None, description="With `interval=hour`: what is older is known by days only")


class GenerationResponse(Schema):
    """One generation; times in milliseconds, `price` a decimal number.

    `requested_model` is what the client named, where `model` has another name; `passed_over` are the addresses of the
    backends that were asked before `backend`, with commas between them; `end_user` is for whom the client said that it
    asked. `streamed` says that the answer came in pieces; it is `null` where that is not known any more.
    `cached` says that it was one of the response cache, and no backend was asked.
    """

    id: str
    request_id: str
    started_at: str
    key: str
    name: str
    route: str
    dialect: str
    model: str
    backend: str
    outcome: str
    status: int
    error: str
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    estimated: bool
    first_byte_ms: int | None
    total_ms: int
    bytes_in: int
    bytes_out: int
    price: str
    requested_model: str
    passed_over: str
    end_user: str
    streamed: bool | None
    cached: bool
