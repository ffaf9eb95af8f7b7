"""Statements that are run for every exchange: compiled once, and run by SQLite's own module.

SQLAlchemy's own way costs ten times what SQLite needs for most of them: it looks for what it has compiled, makes a
context, a cursor and rows. Other databases take it all the same, for there the network costs more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from sqlalchemy import Connection, Executable, Insert, Select
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.types import TypeEngine

Row = Sequence[Any]
_Values = Mapping[str, Any]
_Process = Callable[[Any], Any]

# Names in place of question marks: a value may then stand anywhere, and more than once.
_DIALECT: Final = SQLiteDialect_pysqlite(paramstyle="named")


class Prepared:
    """A statement of SQLAlchemy's, as a constant of its module: it is compiled for as long as the process lives.

    Args:
        statement: what is run.
        columns: which of its table an INSERT or an UPDATE sets; those with a default of ours come by themselves.
    """

    def __init__(self, statement: Executable, columns: Sequence[str] = ()) -> None:
        self.statement = statement
        self._columns = columns

    def run(self, connection: Connection, values: _Values | Sequence[_Values]) -> list[Row]:
        """Run it on a connection to SQLite, once or for each of many; its rows, if it has any.

        Raises:
            DBAPIError: as SQLAlchemy itself raises it.
        """
        text, constants, binders, readers = self._compiled
        cursor = connection.connection.cursor()
        try:
            if isinstance(values, Mapping):
                cursor.execute(text, self._bound(constants, values, binders))
            else:
                cursor.executemany(text, [self._bound(constants, each, binders) for each in values])
            rows = list(cursor.fetchall()) if cursor.description else []
        except sqlite3.Error as error:
            raise DBAPIError.instance(text, None, error, sqlite3.Error, hide_parameters=True) from error
        finally:
            cursor.close()
        return [_read(row, readers) for row in rows] if readers else rows

    @cached_property
    def _compiled(self) -> tuple[str, _Values, Mapping[str, _Process], Mapping[int, _Process]]:
        """SQLite's words, the statement's own values, and what is done to values on their way in, and to rows."""
        assert isinstance(self.statement, ClauseElement)  # noqa: S101 - for mypy: every statement is one
        names = [*self._columns, *self._defaults] or None
        compiled: Any = self.statement.compile(dialect=_DIALECT, column_keys=names)
        binders = {name: _binder(bound.type) for name, bound in compiled.binds.items()}
        columns: Iterable[Any] = self.statement.selected_columns if isinstance(self.statement, Select) else ()
        readers = {place: _reader(column.type) for place, column in enumerate(columns)}
        return str(compiled), _known(compiled.params), _known(binders), _known(readers)

    @cached_property
    def _defaults(self) -> Mapping[str, Any]:
        """The columns that our code has a value for where nobody gives one."""
        columns: Iterable[Any] = self.statement.table.c if isinstance(self.statement, Insert) else ()
        return {column.key: column.default for column in columns if column.default and column.default.is_callable}

    def _bound(self, constants: _Values, values: _Values, binders: Mapping[str, _Process]) -> dict[str, Any]:
        bound = {**constants, **values}
        for name, default in self._defaults.items():
            if name not in values:
                bound[name] = default.arg(_Context(values))
        for name, process in binders.items():
            bound[name] = process(bound[name])
        return bound


class _Context:
    """What a default is told of the row."""

    def __init__(self, values: _Values) -> None:
        self._values = values

    def get_current_parameters(self) -> _Values:
        """The row's other values."""
        return self._values


def _binder(type_: TypeEngine[Any]) -> Any:
    return type_.dialect_impl(_DIALECT).bind_processor(_DIALECT)


def _reader(type_: TypeEngine[Any]) -> Any:
    return type_.dialect_impl(_DIALECT).result_processor(_DIALECT, None)


def _known(found: Mapping[Any, Any]) -> dict[Any, Any]:
    return {name: value for name, value in found.items() if value is not None}


def _read(row: Row, readers: Mapping[int, _Process]) -> Row:
    values = list(row)
    for place, process in readers.items():
        values[place] = process(values[place])
    return values
