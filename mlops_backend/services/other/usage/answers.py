"""Usage as it is told: JSON's objects, and CSV that a spreadsheet does not take for formulas."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, tzinfo
from io import StringIO
from typing import Any, Final

from mlops_backend.schemas.latency import LatencyAmounts, Part
from mlops_backend.schemas.usage import Dimension, GenerationResponse, Interval, UsageAmounts
from mlops_backend.services.llm.dialects import dumped
from mlops_backend.services.other.usage.latency import Counts, Latency, bounds, percentile
from mlops_backend.services.other.usage.prices import written
from mlops_backend.services.other.usage.queries import Amounts, Span
from mlops_backend.services.other.usage.service import LatencyTable, UsageTable

GENERATION_COLUMNS: Final = tuple(GenerationResponse.model_fields)
_NO_ROWS: Final = b'"rows":[]'
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def iso(milliseconds: int, zone: tzinfo = UTC) -> str:
    """A time as ISO 8601 has it: `2026-01-31T12:00:00.000Z`, or with the zone's difference behind it."""
    moment = datetime.fromtimestamp(milliseconds / 1000, zone)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def generation_object(row: Mapping[str, Any]) -> dict[str, Any]:
    """One row of the ledger, its fields in the order of the table's columns."""
    told = {
        **row,
        "started_at": iso(row["started_at"]),
        "key": row["key_id"],
        "total_tokens": row["prompt_tokens"] + row["completion_tokens"],
        "price": written(row["price"]),
    }
    return {name: told[name] for name in GENERATION_COLUMNS}


def table_object(table: UsageTable, span: Span, interval: Interval, dimensions: Sequence[Dimension]) -> dict[str, Any]:
    """The answer to a question about usage, its times as the operator's clocks show them."""
    zone = span.calendar.zone
    answer = {
        "from": iso(span.start, zone),
        "to": iso(span.end, zone),
        "interval": interval,
        "group_by": dimensions,
        "rows": table_rows(table, zone),
        "total": _amounts(table.total),
        "truncated": table.truncated,
    }
    return answer if table.hourly_from is None else {**answer, "hourly_from": iso(table.hourly_from, zone)}


def table_json(table: UsageTable, span: Span, interval: Interval, dimensions: Sequence[Dimension]) -> bytes:
    """The same as JSON; written row by row, for in one piece thousands of them would halt every other thread."""
    told = table_object(table, span, interval, dimensions)
    rows = b",".join(map(dumped, told["rows"]))
    return dumped({**told, "rows": []}).replace(_NO_ROWS, b'"rows":[%b]' % rows, 1)


def table_rows(table: UsageTable, zone: tzinfo = UTC) -> list[dict[str, Any]]:
    """Each group: when, what, how much."""
    rows = []
    for group in table.groups:
        row: dict[str, Any] = {} if group.start is None else {"start": iso(group.start, zone)}
        row |= {dimension.value: value for dimension, value in group.values.items()}
        if (key_id := group.values.get(Dimension.KEY)) is not None:
            row["name"] = table.names[key_id]
        if table.has_rest:
            row["rest"] = None in group.values.values()
        rows.append({**row, **_amounts(group.amounts)})
    return rows


def latency_object(table: LatencyTable, span: Span, part: Part | None) -> dict[str, Any]:
    """The answer to a question about latencies."""
    zone = span.calendar.zone
    return {
        "from": iso(span.start, zone),
        "to": iso(span.end, zone),
        "known_from": iso(table.known_from, zone),
        "group_by": part,
        "rows": [{str(part): group.value, **_distributions(group)} for group in table.groups],
        "total": _distributions(table.total),
        "truncated": table.truncated,
    }


def _distributions(latency: Latency) -> dict[str, Any]:
    return {measure: _distribution(latency.counts[measure]) for measure in LatencyAmounts.model_fields}


def _distribution(counts: Counts) -> dict[str, Any]:
    percentiles = {f"p{hundredths}_ms": percentile(counts, hundredths / 100) for hundredths in (50, 90, 99)}
    limits = [(*bounds(place), counts[place]) for place in sorted(counts)]
    buckets = [{"from_ms": start, "to_ms": end, "generations": count} for start, end, count in limits]
    return {"generations": sum(counts.values()), **percentiles, "buckets": buckets}


def table_columns(interval: Interval, dimensions: Sequence[Dimension], *, with_rest: bool = False) -> list[str]:
    """The names of all that `table_rows` tells, in its order."""
    start = [] if interval is Interval.NONE else ["start"]
    name = ["name"] if Dimension.KEY in dimensions else []
    rest = ["rest"] if with_rest else []
    return [*start, *(dimension.value for dimension in dimensions), *name, *rest, *UsageAmounts.model_fields]


def csv_head(columns: Sequence[str]) -> bytes:
    """The first line."""
    return _lines([columns])


def csv_lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A line for each row."""
    return _lines([_cell(row.get(name)) for name in columns] for row in rows)


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    text = StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    """Texts are others' words: one that a spreadsheet would calculate gets an apostrophe before it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULAS) else value
    return "" if value is None else str(value)


def _amounts(amounts: Amounts) -> dict[str, Any]:
    told = {field.name: getattr(amounts, field.name) for field in fields(amounts)}
    told["total_tokens"] = amounts.prompt_tokens + amounts.completion_tokens
    told["price"] = written(amounts.price)
    return {name: told[name] for name in UsageAmounts.model_fields}
