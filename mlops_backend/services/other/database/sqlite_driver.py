"""SQLite for SQLAlchemy's asynchronous engine, with one visit to its thread a statement.

SQLAlchemy's own adapter makes a cursor, executes, fetches and closes it by four visits, each of which costs more than
most statements: two threads hand each other the processor. It reads every row at once too.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from threading import Thread
from time import monotonic
from typing import Any, Final
from weakref import WeakSet

import aiosqlite
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
    AsyncAdapt_aiosqlite_dbapi,
)

_LOOK_AGAIN: Final = 0.002

_Done = tuple[Any, list[Any], Any, int]


def sqlite_driver() -> SqliteDriver:
    """What `create_async_engine` takes as `module` for SQLite."""
    return SqliteDriver(aiosqlite, sqlite3)


class _Cursor(AsyncAdapt_aiosqlite_cursor):
    __slots__ = ()

    def execute(self, operation: Any, parameters: Any = None) -> Any:
        """One statement and all of its rows."""
        done = self._visit(lambda cursor: cursor.execute(operation, () if parameters is None else parameters))
        self.description, rows, lastrowid, rowcount = done
        self._rows = deque(rows)
        self.lastrowid, self.rowcount = (-1, -1) if self.description else (lastrowid, rowcount)

    def executemany(self, operation: Any, seq_of_parameters: Any) -> Any:
        """One statement, with many values."""
        done = self._visit(lambda cursor: cursor.executemany(operation, seq_of_parameters))
        self.description, _, self.lastrowid, self.rowcount = None, *done[1:]

    def _visit(self, run: Callable[[sqlite3.Cursor], Any]) -> _Done:
        try:
            done: _Done = self.await_(self._connection._execute(_executed, self._connection, run))
        except Exception as error:
            self._adapt_connection._handle_exception(error)
        return done


class _Connection(AsyncAdapt_aiosqlite_connection):
    __slots__ = ()

    def cursor(self, server_side: bool = False) -> AsyncAdapt_aiosqlite_cursor:
        """A cursor; one that streams is SQLAlchemy's own."""
        return super().cursor(server_side=True) if server_side else _Cursor(self)


class SqliteDriver(AsyncAdapt_aiosqlite_dbapi):
    """Makes connections, each of which has a thread."""

    def __init__(self, *modules: Any) -> None:
        super().__init__(*modules)
        self._threads: WeakSet[Thread] = WeakSet()

    def connect(self, *arg: Any, **kw: Any) -> AsyncAdapt_aiosqlite_connection:
        """A connection with such cursors."""
        made = super().connect(*arg, **kw)
        self._threads.add(made._connection._thread)
        return _Connection(self, made._connection)

    async def ended(self, seconds: float) -> None:
        """Wait until every thread has ended, once its connection was closed, for so long at most.

        One that was broken off in the middle of a statement still has its last word for the loop.
        """
        until = monotonic() + seconds
        while any(thread.is_alive() for thread in self._threads) and monotonic() < until:  # noqa: ASYNC110 - of a thread
            await asyncio.sleep(_LOOK_AGAIN)


def _executed(connection: Any, run: Callable[[sqlite3.Cursor], Any]) -> _Done:
    """In the connection's own thread."""
    cursor = connection._conn.cursor()
    try:
        run(cursor)
        rows = cursor.fetchall() if cursor.description else []
        return cursor.description, rows, cursor.lastrowid, cursor.rowcount
    finally:
        cursor.close()
