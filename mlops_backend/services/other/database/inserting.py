"""INSERT … ON CONFLICT, which both databases have in the same words and SQLAlchemy has once for each of them."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import Table

if TYPE_CHECKING:
    from sqlalchemy.dialects import sqlite


def insert_into(table: Table, dialect: str) -> sqlite.Insert:
    """The statement of one of the two, by the name of its dialect; what is used here is alike in both."""
    return cast("sqlite.Insert", _module_of(dialect).insert(table))


@cache
def _module_of(dialect: str) -> Any:
    """Only that of the database in use: PostgreSQL's is 2 MB."""
    return import_module(f"sqlalchemy.dialects.{dialect}")
