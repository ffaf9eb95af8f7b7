"""Questions about single generations and how long they took, and their answers."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from mlops_backend.schemas.schema import Schema
from mlops_backend.schemas.usage import DONE, Dimension, GenerationResponse, GenerationsQuery, Text

MOST_PARTS: Final = 50
MOST_LISTED: Final = 200
_CURSOR: Final = "^[0-9]{1,15}-[0-9A-Za-z]{1,32}$"


class Part(StrEnum):
    """What latencies may be told apart by."""

    MODEL = Dimension.MODEL.value
    BACKEND = Dimension.BACKEND.value


class LatencyQuery(GenerationsQuery):
    """Which generations, and whether their times are told apart."""

    outcome: Text = Field(DONE, description="One or several, with commas; default: those that are done")
    group_by: Part | None = Field(None, description="`model` or `backend`")
    limit: int = Field(20, ge=1, le=MOST_PARTS, description="Groups at most; `truncated`: there are more")


class NewestQuery(GenerationsQuery):
    """Which generations, and which page of them."""

    after: Annotated[str, Field(pattern=_CURSOR)] | None = Field(None, description="The `next` of the page before")
    limit: int = Field(50, ge=1, le=MOST_LISTED)


class AnyLatencyQuery(LatencyQuery):
    """Which generations of which key, and whether their times are told apart."""

    key: Text = Field(None, description="A key's id")


class AnyNewestQuery(NewestQuery):
    """Which generations of which key, and which page of them."""

    key: Text = Field(None, description="A key's id")


class NewestResponse(Schema):
    """A page of generations, the newest first; `next` continues it."""

    generations: list[GenerationResponse]
    next: str | None


class LatencyBucket(Schema):
    """So many generations took `from_ms` or more, and less than `to_ms`; the last bucket has no end."""

    from_ms: float
    to_ms: float | None
    generations: int


class LatencyDistribution(Schema):
    """How long `generations` took; so many hundredths of them took less than each percentile.

    `buckets` has those that are not empty. The percentiles are made of them, and off by half of a bucket at most.
    """

    generations: int
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    buckets: list[LatencyBucket]


class LatencyAmounts(Schema):
    """Of a stream the time to its first token and between two later ones, and of every answer how long it took."""

    first_token: LatencyDistribution
    each_token: LatencyDistribution
    whole: LatencyDistribution


class LatencyRow(LatencyAmounts):
    """One group; it has what it was asked to be told apart by."""

    model: str | None = None
    backend: str | None = None


class LatencyResponse(Schema):
    """Latencies from `from` to before `to`; `total` is all of it, whatever `rows` holds.

    What is older than `known_from` is known as sums only.
    """

    start: str = Field(alias="from")
    end: str = Field(alias="to")
    known_from: str
    group_by: Part | None
    rows: list[LatencyRow]
    total: LatencyAmounts
    truncated: bool
