"""From what is known of a finished request to a row of the ledger that every database takes."""

from __future__ import annotations

import os
from typing import Any, Final, NamedTuple

from sqlalchemy import String

from mlops_backend.principal import ANONYMOUS
from mlops_backend.services.llm.dialects import MOST_TOKENS, dialect_of
from mlops_backend.services.other.database import generations
from mlops_backend.services.other.usage.prices import PriceList
from mlops_backend.telemetry.record import RequestRecord

LONGEST_ID: Final = 128
_MOST: Final = 10**12
_MOST_MS: Final = 2**31 - 1
_MOST_STATUS: Final = 2**15 - 1
_LENGTHS: Final = {column.name: column.type.length for column in generations.c if isinstance(column.type, String)}


class Noted(NamedTuple):
    """One generation as it waits to be written: as little as can be kept, as the record had it.

    `started_at` is milliseconds since the epoch; the two spans are seconds.
    """

    id: str
    started_at: int
    key_id: str
    tokens: int
    request_id: str
    route: str
    model: str
    backend: str
    outcome: str
    status: int
    error: str
    prompt_tokens: int
    completion_tokens: int
    estimated: bool
    first_byte: float | None
    total: float
    bytes_in: int
    bytes_out: int
    requested_model: str
    passed_over: tuple[str, ...]
    end_user: str
    streamed: bool
    cached: bool


def noted(record: RequestRecord, now: float) -> Noted:
    """What a row needs of a record, at the generation's end; `now` is `perf_counter()` seconds."""
    started_at = int(record.at * 1000)
    prompt, completion = _within(record.prompt_tokens, MOST_TOKENS), _within(record.completion_tokens, MOST_TOKENS)
    return Noted(
        f"{started_at & 0xFFFFFFFFFFFF:012x}{os.urandom(10).hex()}",
        started_at,
        (record.caller or ANONYMOUS).id,
        prompt + completion,
        record.id,
        record.route,
        record.model,
        record.backend,
        record.outcome,
        record.status,
        f"{record.error}: {record.said}" if record.said else record.error,
        prompt,
        completion,
        record.estimated,
        None if record.first_byte is None else record.first_byte - record.started,
        now - record.started,
        record.bytes_in,
        record.bytes_out,
        record.requested_model,
        record.passed_over,
        record.end_user,
        record.streams,
        record.cached,
    )


def row_of(generation: Noted, prices: PriceList) -> dict[str, Any]:
    """The row: texts cut to their columns, numbers within theirs, and the price."""
    known = generation._asdict()
    del known["tokens"]
    first_byte, total = known.pop("first_byte"), known.pop("total")
    row = {
        **known,
        "dialect": dialect_of(generation.route).value,
        "status": _within(generation.status, _MOST_STATUS),
        "first_byte_ms": None if first_byte is None else _within(round(first_byte * 1000), _MOST_MS),
        "total_ms": _within(round(total * 1000), _MOST),
        "bytes_in": _within(generation.bytes_in, _MOST),
        "bytes_out": _within(generation.bytes_out, _MOST),
        "passed_over": ",".join(generation.passed_over),
        "price": prices.cost(generation.model, generation.prompt_tokens, generation.completion_tokens),
    }
    return {**row, **{name: fitting(row[name], length) for name, length in _LENGTHS.items() if length}}


def fitting(text: str, length: int) -> str:
    """As much of a text as a column of `length` has bytes for, without what PostgreSQL refuses.

    Bytes, since an index of PostgreSQL has room for 2,700 of them and a key is made of several texts.
    """
    if text.isascii() and len(text) <= length and "\0" not in text:
        return text
    plain = text.replace("\0", "�").encode("utf-8", "replace")
    return plain[:length].decode("utf-8", "ignore")


def _within(number: int | None, most: int) -> int:
    """A count as somebody told it, within what a column takes."""
    return max(0, min(number or 0, most))
