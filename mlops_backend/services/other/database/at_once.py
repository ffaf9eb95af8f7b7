"""Whole transactions of SQLite, each in one visit to a thread.

Through the asynchronous engine each statement is a visit of its own, which costs several times what most statements do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar, cast

from sqlalchemy import URL, Connection, CursorResult, Dialect, Engine, Executable

from mlops_backend.services.other.database.engines import direct_engine
from mlops_backend.services.other.database.prepared import Prepared, Row

T = TypeVar("T")

_WAITED: Final = "a transaction in a thread waited for something else than its statements"


class Statements(Protocol):
    """What a transaction runs its statements with, whichever database it is."""

    @property
    def dialect(self) -> Dialect:
        """Of the database that is behind it."""
        ...

    async def execute(self, statement: Executable, parameters: Any = None, /) -> CursorResult[Any]:
        """Run a statement, with one set of values or with many."""
        ...


class _Direct:
    """Statements that never suspend."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.dialect = connection.dialect

    async def execute(self, statement: Executable, parameters: Any = None, /) -> CursorResult[Any]:
        """Run a statement here and now."""
        return self.connection.execute(statement, parameters)


async def run(
    connection: Statements, prepared: Prepared, values: Mapping[str, Any] | Sequence[Mapping[str, Any]]
) -> Sequence[Row]:
    """Run a prepared statement, once or for each of many; its rows, if it has any.

    Raises:
        DBAPIError: the database refuses it.
    """
    if isinstance(connection, _Direct):
        return prepared.run(connection.connection, values)
    done = await connection.execute(prepared.statement, values)
    return done.all() if done.returns_rows else []


class AtOnce:
    """Writes to a file of SQLite, one transaction after the other.

    Args:
        url: SQLAlchemy's, with whatever driver.
        busy_timeout: seconds to wait for another process that writes.
    """

    def __init__(self, url: URL, busy_timeout: float) -> None:
        self._engine: Engine = direct_engine(url, busy_timeout)
        self._thread = ThreadPoolExecutor(1, "sqlite")
        # Kept between transactions, since to take it and give it back costs half as much as one; the thread's own.
        self._connection: Connection | None = None

    async def write(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        """Run `work` in a transaction; it waits for nothing but its statements.

        Who is cancelled waits until it is over, one way or the other.
        """
        running = asyncio.get_running_loop().run_in_executor(self._thread, self._written, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait({running})
            raise

    async def aclose(self, seconds: float) -> None:
        """Close the file, once the transaction that runs has ended, but wait for that no longer than so."""
        closing = asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)
        await asyncio.wait({closing}, timeout=seconds)

    def _written(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        connection, self._connection = self._connection or self._engine.connect(), None
        try:
            with connection.begin():
                result = _result(work(cast("Statements", _Direct(connection))))
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return result

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()


def _result(working: Awaitable[T]) -> T:
    """What a coroutine comes to that never suspends."""
    steps = working.__await__()
    try:
        next(steps)
    except StopIteration as done:
        result: T = done.value
        return result
    raise RuntimeError(_WAITED)
