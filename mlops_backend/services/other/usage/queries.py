"""What is asked of the ledger, as SQL that both databases run alike and from an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from sqlalchemy import (
    ColumnElement,
    Integer,
    Row,
    Select,
    String,
    Subquery,
    Table,
    case,
    cast,
    false,
    func,
    literal,
    literal_column,
    select,
    union_all,
)

from mlops_backend.days import UTC_DAYS, Calendar
from mlops_backend.schemas.usage import DONE, Dimension, Interval
from mlops_backend.services.other.database import api_keys, generations, usage_daily
from mlops_backend.services.other.usage.series import Series, series_of

HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
BILLION: Final = 10**9
_NOBODY: Final[ColumnElement[str]] = literal_column("''", String)  # not a parameter: an index is chosen by it
_DONE: Final[ColumnElement[str]] = literal_column(f"'{DONE}'", String)  # likewise
# As late as a question may ask for, in milliseconds.
NEVER: Final = 253_370_764_800_000
_SUMS: Final = ("prompt_tokens", "completion_tokens", "total_ms", "bytes_in", "bytes_out")


def column_of(dimension: Dimension) -> str:
    """Its column in both tables."""
    return "key_id" if dimension is Dimension.KEY else dimension.value


@dataclass(frozen=True, slots=True)
class Span:
    """Which generations: those that started at `start` or later, before `end`, and fit every one of `only`.

    Times are milliseconds since the epoch, days those of the calendar.
    """

    start: int
    end: int
    only: Sequence[tuple[Dimension, str]] = ()
    calendar: Calendar = UTC_DAYS

    def of_key(self, key_id: str) -> Span:
        """Those of one key among them."""
        return replace(self, only=(*self.only, (Dimension.KEY, key_id)))

    def without(self, closed: Closed | None) -> list[Span]:
        """What is not in days whose sums are used."""
        if closed is None:
            return [self]
        parts = replace(self, end=closed.span.start), replace(self, start=closed.span.end)
        return [part for part in parts if part.start < part.end]

    def is_told_by(self, table: Table, dimensions: Sequence[Dimension]) -> bool:
        """Whether a table tells apart all that is asked for."""
        return all(column_of(each) in table.c for each in (*dimensions, *dict(self.only)))

    def conditions(self, table: Table) -> list[ColumnElement[bool]]:
        """The span as conditions on a table; a rolled-up day belongs where its first moment does."""
        chosen = [condition for dimension, value in self.only for condition in _is(table, column_of(dimension), value)]
        if table is not usage_daily:
            return [table.c.started_at >= self.start, table.c.started_at < self.end, *chosen]
        first, behind = (self.calendar.first_day(min(moment, NEVER) / 1000) for moment in (self.start, self.end))
        return [table.c.day >= first, table.c.day < behind, *chosen]


@dataclass(frozen=True, slots=True)
class Closed:
    """Days of a span that are over, whose sums in `table` are used in place of their rows."""

    table: Table
    span: Span


def _is(table: Table, name: str, value: str) -> list[ColumnElement[bool]]:
    """Whether a column has that value, or one of several outcomes; sums of old days do not tell end users apart."""
    if name not in table.c:
        return [] if not value else [false()]
    if name == Dimension.OUTCOME:
        return _is_outcome(table, value.split(","))
    named = (
        [table.c[name] != _NOBODY] if name == column_of(Dimension.END_USER) and value else []
    )  # the index has no others
    return [table.c[name] == value, *named]


def _is_outcome(table: Table, outcomes: Sequence[str]) -> list[ColumnElement[bool]]:
    """Whether it ended in one of these ways; the indexes of what is not done have no others."""
    column = table.c.outcome
    chosen = column == outcomes[0] if len(outcomes) == 1 else column.in_(outcomes)
    return [chosen] if DONE in outcomes else [chosen, column != _DONE]


@dataclass(frozen=True, slots=True)
class Amounts:
    """Sums over generations; `price` in billionths."""

    generations: int = 0
    estimated: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_ms: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    price: int = 0

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """From a row of `amounts`; PostgreSQL's sums are decimal numbers."""
        told = row._mapping
        sums = {name: int(told[name] or 0) for name in ("generations", "estimated", *_SUMS)}
        return cls(**sums, price=int(told["units"] or 0) * BILLION + int(told["billionths"] or 0))


@dataclass(frozen=True, slots=True)
class Group:
    """One row of a table of usage: `start` in milliseconds where there is a series, `values` by dimension.

    A value is none for all groups that are not told apart.
    """

    start: int | None
    values: dict[Dimension, str | None]
    amounts: Amounts


def amounts(
    span: Span,
    dimensions: Sequence[Dimension],
    interval: Interval,
    limit: int,
    until: int = NEVER,
    top: Sequence[str] | None = None,
    closed: Closed | None = None,
) -> Select[Any]:
    """Sums by group, in the order of time and then the largest first; hours know nothing of rolled-up days.

    Args:
        span: of these.
        dimensions: told apart by these.
        interval: and by this.
        limit: so many groups.
        until: no generation is later than this, in milliseconds.
        top: these values of the one dimension; all others are one, whose value is null.
        closed: days of the span whose sums are used in place of their rows.
    """
    names = [column_of(dimension) for dimension in dimensions]
    series = series_of(span.calendar, interval, span.start, min(span.end, until, NEVER))
    parts = [sums_of_rows(part, names, series) for part in span.without(closed)]
    if closed is not None:
        parts.append(_of_closed_days(closed, names, series))
    if interval is not Interval.HOUR:
        parts.append(_of_days(span, names, series))
    both = union_all(*parts).subquery()
    if top is not None:
        both = _told_apart(both, names[0], top)
    keys = [both.c[name] for name in _key_names(names, interval)]
    sums = [func.sum(both.c[name]).label(name) for name in ("generations", "estimated", *_SUMS, "units", "billionths")]
    size = func.sum(both.c.prompt_tokens + both.c.completion_tokens).desc()
    time = keys[:1] if interval is not Interval.NONE else []
    return select(*keys, *sums).group_by(*keys).order_by(*time, size, *keys).limit(limit)


def largest(span: Span, dimension: Dimension, count: int, closed: Closed | None = None) -> Select[Any]:
    """The values of a dimension with the most tokens; of nothing but these, which is what the database sorts by."""
    name = column_of(dimension)
    sources = [(generations, part) for part in span.without(closed)]
    if closed is not None:
        sources.append((closed.table, closed.span))
    parts = [
        select(
            (table.c[name] if name in table.c else literal("", String)).label(name),
            func.sum(table.c.prompt_tokens + table.c.completion_tokens).label("tokens"),
        )
        .where(*part.conditions(table))
        .group_by(*([table.c[name]] if name in table.c else []))
        .having(func.count() > 0)
        for table, part in (*sources, (usage_daily, span))
    ]
    both = union_all(*parts).subquery()
    return (
        select(both.c[name]).group_by(both.c[name]).order_by(func.sum(both.c.tokens).desc(), both.c[name]).limit(count)
    )


def _told_apart(rows: Subquery, name: str, top: Sequence[str]) -> Subquery:
    """The same rows; where a column has another value than these it is null."""
    values = {each.name: each for each in rows.c}
    shown = case((values[name].in_(top), values[name])).label(name)
    return select(*(shown if each == name else column for each, column in values.items())).subquery()


def _key_names(names: Sequence[str], interval: Interval) -> list[str]:
    return ["bucket", *names] if interval is not Interval.NONE else list(names)


def sums_of_rows(span: Span, names: Sequence[str], series: Series | None = None) -> Select[Any]:
    """Rows of the ledger, added up by these columns; prices as whole units and as the rest of them."""
    rows = generations.c
    counts = [func.count().label("generations"), func.sum(cast(rows.estimated, Integer)).label("estimated")]
    bucket = series.of_moment("generations.started_at") if series else None
    return _summed(generations, bucket, names, counts).where(*span.conditions(generations))


def _of_days(span: Span, names: Sequence[str], series: Series | None) -> Select[Any]:
    bucket = series.of_day("usage_daily.day") if series else None
    return _summed(usage_daily, bucket, names, _counts(usage_daily)).where(*span.conditions(usage_daily))


def _of_closed_days(closed: Closed, names: Sequence[str], series: Series | None) -> Select[Any]:
    table = closed.table
    bucket = series.of_moment(f"{table.name}.started_at") if series else None
    return _summed(table, bucket, names, _counts(table)).where(*closed.span.conditions(table))


def _counts(table: Table) -> list[ColumnElement[Any]]:
    return [func.sum(table.c[name]).label(name) for name in ("generations", "estimated")]


def _summed(
    table: Table, bucket: ColumnElement[Any] | None, names: Sequence[str], counts: Sequence[ColumnElement[Any]]
) -> Select[Any]:
    """The sum of many prices would not fit SQLite's integers."""
    keys: list[ColumnElement[Any]] = [table.c[name] for name in names if name in table.c]
    told = [table.c[name] if name in table.c else literal("", String).label(name) for name in names]
    if bucket is not None:
        keys.insert(0, named := bucket.label("bucket"))
        told.insert(0, named)
    sums = [func.sum(table.c[name]).label(name) for name in _SUMS]
    price = [
        func.sum(table.c.price // BILLION).label("units"),
        func.sum(table.c.price % BILLION).label("billionths"),
    ]
    chosen = select(*told, *counts, *sums, *price).group_by(*keys)
    return chosen if keys else chosen.having(func.count() > 0)  # of no rows there would be one group all the same


def last_rolled_up(span: Span) -> Select[tuple[int | None]]:
    """The last day of the span that is known as a whole only."""
    return select(func.max(usage_daily.c.day)).where(*span.conditions(usage_daily))


def tokens_since(
    key_id: str, start: int, calendar: Calendar = UTC_DAYS, person: str | None = None
) -> Select[tuple[int]]:
    """Prompt and completion tokens of a key; one statement, so that nothing is rolled up between its two halves.

    Of one of the key's people only what is known in full: sums of old days do not tell them apart.
    """
    only = () if person is None else ((Dimension.END_USER, person),)
    span = Span(start, NEVER, only, calendar).of_key(key_id)
    halves = [
        select(func.coalesce(func.sum(table.c.prompt_tokens + table.c.completion_tokens), 0))
        .where(*span.conditions(table))
        .scalar_subquery()
        for table in ((generations, usage_daily) if person is None else (generations,))
    ]
    return select(halves[0] + halves[1] if person is None else halves[0])


def names_of(key_ids: Sequence[str]) -> Select[tuple[str, str]]:
    """The names of keys."""
    return select(api_keys.c.id, api_keys.c.name).where(api_keys.c.id.in_(key_ids))
