"""How long generations take, as counts in buckets that grow by a tenth of a decade, and percentiles made of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Float,
    Integer,
    Row,
    Select,
    String,
    and_,
    case,
    cast,
    func,
    literal_column,
    select,
    union_all,
)

from mlops_backend.schemas.usage import Dimension
from mlops_backend.services.other.database import generations
from mlops_backend.services.other.usage.queries import Closed, Span, column_of

A_DECADE: Final = 10
# Buckets are counted from that of what takes less than 0.01 ms to that of what takes 10,000 s or more.
FIRST: Final = -2 * A_DECADE
LAST: Final = 7 * A_DECADE
_BELOW: Final = FIRST - 1
# One number holds the three buckets of a generation, each of them less than this; none is 99.
_ROOM: Final = 100
_NONE: Final = _ROOM - 1
# SQLite has a little less than 3 for the logarithm of 1000.
_ALMOST: Final[ColumnElement[float]] = literal_column("0.000000001", Float)
FIRST_TOKEN, EACH_TOKEN, WHOLE = "first_token", "each_token", "whole"
# In the order in which the number has them.
MEASURES: Final = (WHOLE, FIRST_TOKEN, EACH_TOKEN)

Counts = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Latency:
    """Of each of `MEASURES` how many generations are in which bucket; `value` is what they have in common, or none."""

    value: str | None
    counts: Mapping[str, Counts]

    @property
    def generations(self) -> int:
        """How many there are: each took some time as a whole."""
        return sum(self.counts[WHOLE].values())


def bound(place: int) -> float:
    """Where a bucket begins, in milliseconds."""
    return float(f"{10 ** (place / A_DECADE):.3g}")


def bounds(place: int) -> tuple[float, float | None]:
    """From where to before where a bucket goes; the last has no end."""
    return 0.0 if place < FIRST else bound(place), None if place >= LAST else bound(place + 1)


def percentile(counts: Counts, share: float) -> float | None:
    """So many of the generations take less than this, in milliseconds; off by half of a bucket at most.

    Within a bucket they lie evenly on the logarithm's scale. None where there are none.
    """
    wanted = share * sum(counts.values())
    for place in sorted(counts):
        if counts[place] and wanted <= counts[place]:
            within = 0.0 if place in {_BELOW, LAST} else wanted / counts[place]
            return float(f"{10 ** ((place + within) / A_DECADE):.3g}")
        wanted -= counts[place]
    return None


def distributions(span: Span, dimension: Dimension | None, most: int, closed: Closed | None = None) -> Select[Any]:
    """Rows of value, measure, bucket and count: of all, whose value is null, and of the largest groups.

    The ledger is gone through once, but for the days that are `closed`. What that finds is some thousand rows for each
    group, which are added up again for each measure.
    """
    names = [] if dimension is None else [column_of(dimension)]
    rest = span.without(closed)
    parts = [part for number, each in enumerate(rest) for part in _measured(each, names, number)]
    if closed is not None:
        counted = closed.table.c
        kept = [counted[name] for name in names]
        sums = select(*kept, counted.measure, counted.place, func.sum(counted.count).label("count"))
        parts.append(sums.where(*closed.span.conditions(closed.table)).group_by(*kept, counted.measure, counted.place))
    found = union_all(*parts).cte("found")
    told = (found.c.measure, found.c.place)
    count = cast(func.sum(found.c.count), BigInteger).label("count")
    answers = [select(_nothing().label("value"), *told, count).group_by(*told)]
    if names:
        value = found.c[names[0]]
        whole = select(value.label("value")).where(found.c.measure == MEASURES.index(WHOLE)).group_by(value)
        largest = whole.order_by(func.sum(found.c.count).desc(), value).limit(most).subquery()
        answers.append(select(value, *told, count).join(largest, largest.c.value == value).group_by(value, *told))
    return select(*union_all(*answers).subquery().c)


def buckets_of(span: Span, names: Sequence[str]) -> Select[Any]:
    """How many generations are in which bucket of which measure, told apart by these columns."""
    found = union_all(*_measured(span, names)).subquery().c
    return select(*found).where(found.place != _literal(_NONE))


def _measured(span: Span, names: Sequence[str], number: int = 0) -> list[Select[Any]]:
    seen = _seen(span, names, number)
    return [_of_measure(seen, index, names) for index in range(len(MEASURES))]


def read(rows: Iterable[Row[Any]]) -> tuple[Latency, Sequence[Latency]]:
    """What `distributions` found: of all, and of each group, the largest first."""
    found: defaultdict[str | None, dict[str, Counter[int]]] = defaultdict(_empty)
    found[None] = _empty()
    for value, measure, place, count in rows:
        if place != _NONE:
            found[value][MEASURES[measure]][int(place) + _BELOW] += int(count)
    total, *groups = (Latency(value, counts) for value, counts in found.items())
    return total, sorted(groups, key=lambda group: (-group.generations, group.value or ""))


def _empty() -> dict[str, Counter[int]]:
    return {measure: Counter() for measure in MEASURES}


def _seen(span: Span, names: Sequence[str], of: int) -> CTE:
    """How many generations that a backend was asked for have the same three buckets, by what tells them apart."""
    rows = generations.c
    behind = rows.completion_tokens - 1
    streamed = and_(rows.streamed, rows.first_byte_ms.is_not(None))
    counted = and_(streamed, rows.estimated.is_(False), behind > 0)
    later = cast(rows.total_ms - rows.first_byte_ms, Float)
    places = (
        _place(rows.total_ms),
        case((streamed, _place(rows.first_byte_ms)), else_=_literal(_NONE)),
        case((counted, _place(later / behind)), else_=_literal(_NONE)),
    )
    number = cast((places[0] * _literal(_ROOM) + places[1]) * _literal(_ROOM) + places[2], Integer).label("number")
    kept = [rows[name] for name in names]
    wanted = rows.cached.is_(False), *span.conditions(generations)
    counted_rows = select(*kept, number, func.count().label("count")).where(*wanted)
    return counted_rows.group_by(*kept, literal_column("number")).cte(f"seen_{of}")


def _place(milliseconds: ColumnElement[Any]) -> ColumnElement[Any]:
    """The bucket, counted from the first of all, which is 0."""
    least = literal_column(f"{10 ** (FIRST / A_DECADE):g}", Float)
    decades = func.log(cast(milliseconds, Float))
    place = func.floor(decades * _literal(A_DECADE) + _ALMOST) - _literal(_BELOW)
    most = literal_column(f"{10 ** (LAST / A_DECADE):.1f}", Float)
    return case((milliseconds < least, _literal(0)), (milliseconds >= most, _literal(LAST - _BELOW)), else_=place)


def _literal(number: int) -> ColumnElement[int]:
    """Written into the text: PostgreSQL would not see that two parameters with one value are the same expression."""
    return literal_column(str(number), Integer)


def _of_measure(seen: CTE, index: int, names: Sequence[str]) -> Select[Any]:
    """The buckets of one measure."""
    below = _ROOM ** (len(MEASURES) - 1 - index)
    place = ((seen.c.number // _literal(below)) % _literal(_ROOM)).label("place")
    kept = [seen.c[name] for name in names]
    count = cast(func.sum(seen.c.count), BigInteger).label("count")
    counted = select(*kept, _literal(index).label("measure"), place, count)
    return counted.group_by(*kept, literal_column("place"))


def _nothing() -> ColumnElement[Any]:
    return literal_column("CAST(NULL AS VARCHAR)", String)
