"""Usage: one's own for every key, everybody's for the administrator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime
from time import time
from typing import Any, Final

from quart import Blueprint, Response, g, request
from quart.typing import ResponseReturnValue
from quart_schema import document_response, tag, validate_querystring

from mlops_backend.days import Calendar
from mlops_backend.end_users import EndUsers
from mlops_backend.errors import DatabaseDown, InvalidBody
from mlops_backend.middleware.request_context import record, service
from mlops_backend.openapi import CSV, document_media_types
from mlops_backend.schemas.latency import (
    AnyLatencyQuery,
    AnyNewestQuery,
    LatencyQuery,
    LatencyResponse,
    NewestQuery,
    NewestResponse,
)
from mlops_backend.schemas.usage import (
    AnyGenerationsQuery,
    AnyUsageQuery,
    Dimension,
    GenerationResponse,
    GenerationsQuery,
    UsageQuery,
    UsageResponse,
)
from mlops_backend.services.other.usage import (
    GENERATION_COLUMNS,
    Span,
    Usage,
    csv_head,
    csv_lines,
    generation_object,
    latency_object,
    table_columns,
    table_json,
    table_rows,
)
from mlops_backend.telemetry.record import RequestRecord

blueprint = Blueprint("usage", __name__, url_prefix="/api")

_Page = list[dict[str, Any]]

_DEFAULT_DAYS: Final = 30
_UNSTORED: Final = {"Cache-Control": "no-store", "Vary": "Accept"}
_DOWNLOAD: Final = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="generations.csv"'}


@blueprint.get("/usage")
@tag(["usage"])
@document_media_types(200, "application/json", CSV)
@document_response(UsageResponse, 200)
@validate_querystring(UsageQuery)
async def get_usage(query_args: UsageQuery) -> ResponseReturnValue:
    """Add up the usage of one's own key.

    Tokens are exact; `price` is what the operator's `PRICES` make of them. A generation appears within half a second of
    its end. Days older than `USAGE_RETENTION_DAYS` are known as whole days: they count where their midnight lies
    in the span, and a series of hours does not have them. With `Accept: text/csv` the rows come as CSV.
    """
    return await _table(query_args, _span(query_args).of_key(g.principal.id))


@blueprint.get("/usage/latency")
@tag(["usage"])
@document_response(LatencyResponse, 200)
@validate_querystring(LatencyQuery)
async def get_latency(query_args: LatencyQuery) -> ResponseReturnValue:
    """Show how long the generations of one's own key took.

    The time to the first token, the queue included, and the time of each token behind it, are those of streams; the
    second where the backend told how many tokens there were. Each is counted in buckets that grow by a tenth of a
    decade. Without `outcome` those that are done count. Days older than `USAGE_RETENTION_DAYS` are not in it.
    """
    return await _latency(query_args, _span(query_args).of_key(g.principal.id))


@blueprint.get("/usage/generations")
@tag(["usage"])
@document_response(NewestResponse, 200)
@validate_querystring(NewestQuery)
async def list_ended_generations(query_args: NewestQuery) -> ResponseReturnValue:
    """List the generations of one's own key, the newest first.

    A page at a time: `next`, unless it is `null`, is the next page's `after`. A generation appears within half a second
    of its end. `outcome=error,timeout` are the last failures, each with its `request_id`.
    """
    return await _newest(query_args, _span(query_args).of_key(g.principal.id))


@blueprint.get("/usage/generations/<generation_id>")
@tag(["usage"])
@document_response(GenerationResponse, 200)
async def get_generation(generation_id: str) -> ResponseReturnValue:
    """Show one generation of one's own.

    By its `id`, or by its request's (`X-Request-ID`): of several that share one, the newest. 404 when it is another
    key's, or older than `USAGE_RETENTION_DAYS`.
    """
    return await _generation(generation_id, g.principal.id)


@blueprint.get("/usage/export")
@tag(["usage"])
@document_media_types(200, CSV)
@validate_querystring(GenerationsQuery)
async def export_usage(query_args: GenerationsQuery) -> Response:
    """Download the generations of one's own as CSV, oldest first.

    One line for each generation that was not rolled up yet. A text that a spreadsheet would take for a formula has an
    apostrophe before it. When the database fails on the way the connection is broken off: a download that ended well is
    complete.
    """
    return await _export(_span(query_args).of_key(g.principal.id))


@blueprint.get("/admin/usage")
@tag(["usage"])
@document_media_types(200, "application/json", CSV)
@document_response(UsageResponse, 200)
@validate_querystring(AnyUsageQuery)
async def get_all_usage(query_args: AnyUsageQuery) -> ResponseReturnValue:
    """Add up the usage of all keys, or of one.

    As `/api/usage`, with `key` as a further filter.
    """
    return await _table(query_args, _span(query_args))


@blueprint.get("/admin/usage/latency")
@tag(["usage"])
@document_response(LatencyResponse, 200)
@validate_querystring(AnyLatencyQuery)
async def get_all_latency(query_args: AnyLatencyQuery) -> ResponseReturnValue:
    """Show how long the generations of all keys took, or of one.

    As `/api/usage/latency`, with `key` as a further filter.
    """
    return await _latency(query_args, _span(query_args))


@blueprint.get("/admin/usage/generations")
@tag(["usage"])
@document_response(NewestResponse, 200)
@validate_querystring(AnyNewestQuery)
async def list_all_generations(query_args: AnyNewestQuery) -> ResponseReturnValue:
    """List the generations of all keys, or of one, the newest first.

    As `/api/usage/generations`, with `key` as a further filter.
    """
    return await _newest(query_args, _span(query_args))


@blueprint.get("/admin/usage/generations/<generation_id>")
@tag(["usage"])
@document_response(GenerationResponse, 200)
async def get_any_generation(generation_id: str) -> ResponseReturnValue:
    """Show one generation of any key.

    By its `id`, or by its request's (`X-Request-ID`): of several that share one, the newest.
    """
    return await _generation(generation_id, None)


@blueprint.get("/admin/usage/export")
@tag(["usage"])
@document_media_types(200, CSV)
@validate_querystring(AnyGenerationsQuery)
async def export_all_usage(query_args: AnyGenerationsQuery) -> Response:
    """Download the generations of all keys, or of one, as CSV.

    As `/api/usage/export`, with `key` as a further filter.
    """
    return await _export(_span(query_args))


def _span(query: GenerationsQuery) -> Span:
    calendar = service(Usage).calendar
    end = int(time() * 1000) + 1 if query.end is None else _moment(query.end, calendar)
    month = calendar.start(calendar.day_at(end // 1000) - _DEFAULT_DAYS) * 1000
    start = max(0, month) if query.start is None else _moment(query.start, calendar)
    if start >= end:
        raise _misfit("from", "must be before `to`, which is now if it is not given")
    told = {dimension: getattr(query, dimension.value, None) for dimension in Dimension}
    if whom := told[Dimension.END_USER]:
        told[Dimension.END_USER] = service(EndUsers).meant(whom)
    only = tuple((dimension, value) for dimension, value in told.items() if value is not None)
    return Span(start, end, only, calendar)


def _misfit(name: str, wrong: str) -> InvalidBody:
    return InvalidBody("The query does not fit the schema.", [{"loc": [name], "msg": wrong, "type": "value_error"}])


def _moment(told: int | datetime, calendar: Calendar) -> int:
    """In milliseconds; a time without a zone is the operator's."""
    if isinstance(told, int):
        return told
    return max(0, calendar.moment_of(told.replace(microsecond=0)) * 1000 + told.microsecond // 1000)


async def _table(query: UsageQuery, span: Span) -> Response:
    """Thousands of rows are written beside the event loop, which gets its turn every few milliseconds."""
    if query.top is not None and len(query.group_by) != 1:
        raise _misfit("top", "is for one `group_by`")
    table = await service(Usage).table(span, query.group_by, query.interval, query.limit, query.top)
    if CSV not in request.headers.get("Accept", "").lower():
        told = await asyncio.to_thread(lambda: table_json(table, span, query.interval, query.group_by))
        return Response(told, content_type="application/json", headers=_UNSTORED)
    columns = table_columns(query.interval, query.group_by, with_rest=query.top is not None)
    lines = await asyncio.to_thread(
        lambda: csv_head(columns) + csv_lines(columns, table_rows(table, span.calendar.zone))
    )
    return Response(lines, content_type=f"{CSV}; charset=utf-8", headers=_UNSTORED)


async def _latency(query: LatencyQuery, span: Span) -> ResponseReturnValue:
    dimension = None if query.group_by is None else Dimension(query.group_by)
    table = await service(Usage).latency(span, dimension, query.limit)
    return latency_object(table, span, query.group_by), 200, _UNSTORED


async def _newest(query: NewestQuery, span: Span) -> ResponseReturnValue:
    moment, _, known_as = (query.after or "").partition("-")
    rows, following = await service(Usage).newest(span, (int(moment), known_as) if known_as else None, query.limit)
    told = {
        "generations": [generation_object(row) for row in rows],
        "next": None if following is None else "{}-{}".format(*following),
    }
    return told, 200, _UNSTORED


async def _generation(generation_id: str, key_id: str | None) -> ResponseReturnValue:
    return generation_object(await service(Usage).generation(generation_id, key_id)), 200, _UNSTORED


async def _export(span: Span) -> Response:
    pages = service(Usage).pages(span)
    first: _Page = await anext(pages, [])
    response = Response(_lines(first, pages, record()), content_type=f"{CSV}; charset=utf-8", headers=_DOWNLOAD)
    response.timeout = None  # Quart would cut the body after RESPONSE_TIMEOUT
    return response


async def _lines(first: _Page, rest: AsyncGenerator[_Page, None], noted: RequestRecord) -> AsyncGenerator[bytes, None]:
    """CSV has no word for an error: one on the way is let through, which breaks the connection off."""
    yield csv_head(GENERATION_COLUMNS) + csv_lines(GENERATION_COLUMNS, map(generation_object, first))
    try:
        async for rows in rest:
            yield csv_lines(GENERATION_COLUMNS, map(generation_object, rows))
    except DatabaseDown as error:
        noted.error = error.code
        raise
