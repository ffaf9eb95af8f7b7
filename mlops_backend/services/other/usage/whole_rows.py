"""Rows of the ledger as a whole, from an index: a page of them, and one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, and_, or_, select

from mlops_backend.services.other.database import api_keys, generations
from mlops_backend.services.other.usage.queries import Span


def page(span: Span, after: tuple[int, str] | None, size: int) -> Select[Any]:
    """Whole rows with the names of their keys, oldest first, behind the (started_at, id) of `after`."""
    rows = generations.c
    chosen = _whole().where(*span.conditions(generations)).order_by(rows.started_at, rows.id).limit(size)
    if after is None:
        return chosen
    moment, last = after
    behind = or_(rows.started_at > moment, rows.id > last)
    return chosen.where(and_(rows.started_at >= moment, behind))


def newest(span: Span, before: tuple[int, str] | None, size: int) -> Select[Any]:
    """Whole rows with the names of their keys, newest first, before the (started_at, id) of `before`."""
    rows = generations.c
    order = (rows.started_at.desc(), rows.id.desc())
    chosen = _whole().where(*span.conditions(generations)).order_by(*order).limit(size)
    if before is None:
        return chosen
    moment, last = before
    return chosen.where(rows.started_at <= moment, or_(rows.started_at < moment, rows.id < last))


def one(column: str, value: str, key_id: str | None) -> Select[Any]:
    """The newest row of that id, or request's id, among those of a key or of all."""
    chosen = _whole().where(generations.c[column] == value)
    if key_id is not None:
        chosen = chosen.where(generations.c.key_id == key_id)
    return chosen.order_by(generations.c.started_at.desc()).limit(1)


def _whole() -> Select[Any]:
    owner = generations.outerjoin(api_keys, api_keys.c.id == generations.c.key_id)
    return select(*generations.c, api_keys.c.name.label("name")).select_from(owner)
