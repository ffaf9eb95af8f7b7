"""How each of the databases is connected to."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, NullPool, QueuePool, create_engine, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from mlops_backend.services.other.database.lookout import arguments_for, look_out
from mlops_backend.services.other.database.prepared import Prepared
from mlops_backend.services.other.database.statement_names import StatementNames

# The execution option by which a transaction says that it writes.
WRITING: Final = "mlops_writing"
# What an error says of a statement goes into the log, where no message's text may stand.
_QUIET: Final[Mapping[str, Any]] = {"hide_parameters": True}
# Open though nobody needs them.
_KEPT: Final = 5
_RECYCLED_AFTER: Final = 1800
_COMMAND_TIMEOUT: Final = 60.0
# A step of the tables may go over every row: a clock that ends it would have it begin anew, and end it again.
_STEPS_TIMEOUT: Final = 86_400.0
# Functions that SQLite has when it was built with its mathematics, as most are.
_MATHEMATICS: Final[Mapping[str, Callable[[float], float]]] = {"log": math.log10, "floor": math.floor}
_BEGIN_WRITING: Final = Prepared(text("BEGIN IMMEDIATE"))


def postgres_engine(url: URL, names: StatementNames, connections: int, timeout: float) -> AsyncEngine:
    """PostgreSQL, for what requests need; whoever wants a free connection waits for `timeout`."""
    pool = {**_pool(connections, timeout), "pool_recycle": _RECYCLED_AFTER}
    return _postgres(url, names, _COMMAND_TIMEOUT, pool)


def patient_engine(url: URL, names: StatementNames) -> AsyncEngine:
    """PostgreSQL, for the steps of its tables; a connection is closed when it is given back."""
    return _postgres(url, names, _STEPS_TIMEOUT, {"poolclass": NullPool})


def sqlite_engine(url: URL, driver: Any, connections: int, timeout: float, busy_timeout: float) -> AsyncEngine:
    """SQLite's file; a writer waits for another for `busy_timeout`."""
    options = {"timeout": busy_timeout, "isolation_level": None}
    engine = create_async_engine(url, **_QUIET, **_pool(connections, timeout), module=driver, connect_args=options)
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def direct_engine(url: URL, busy_timeout: float) -> Engine:
    """SQLite's file for a thread of our own, with one connection, whose transactions all write."""
    options = {"timeout": busy_timeout, "isolation_level": None, "check_same_thread": False}
    one: Mapping[str, Any] = {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0}
    engine = create_engine(url.set(drivername="sqlite"), **_QUIET, **one, connect_args=options)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_writing)
    return engine


def _postgres(url: URL, names: StatementNames, command_timeout: float, pool: Mapping[str, Any]) -> AsyncEngine:
    arguments = {**arguments_for(url), "command_timeout": command_timeout}
    engine = create_async_engine(url, **_QUIET, **pool, connect_args=arguments)
    names.watch(engine.sync_engine)
    look_out(engine.sync_engine, url, names)
    return engine


def _pool(connections: int, timeout: float) -> Mapping[str, Any]:
    kept = min(_KEPT, connections)
    return {"pool_size": kept, "max_overflow": connections - kept, "pool_timeout": timeout}


def _prepare_sqlite(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
    for name, function in missing_functions().items():
        connection.create_function(name, 1, function, deterministic=True)


@cache
def missing_functions() -> Mapping[str, Callable[[float], float]]:
    """What this SQLite cannot count itself."""
    memory = sqlite3.connect(":memory:")
    try:
        memory.execute(f"SELECT {', '.join(f'{name}(1.5)' for name in _MATHEMATICS)}")
    except sqlite3.OperationalError:
        return _MATHEMATICS
    finally:
        memory.close()
    return {}


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes the lock at once: one that reads first and writes then would fail instead of waiting."""
    writing = connection.get_execution_options().get(WRITING)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _begin_writing(connection: Connection) -> None:
    _BEGIN_WRITING.run(connection, {})
