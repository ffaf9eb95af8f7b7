"""Prepared statements, with names or without: behind a pooler a name may be unknown to the next transaction's server.

PgBouncer, in its mode `transaction`, gives each transaction any of its connections to PostgreSQL. A statement that was
prepared under a name on one of them is not there on the next; only from 1.21 on does it know about that. A statement
without a name is prepared and run within one transaction, which is always on one connection.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from sqlalchemy import Dialect, Engine, ExceptionContext, event

# The cache of asyncpg and that of SQLAlchemy; what is not cached gets no name.
_NAMELESS: Final = {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
_CACHE: Final = "prepared_statement_cache_size"
# SQLSTATE: no such prepared statement, or one of that name already.
_LOST: Final = frozenset({"26000", "42P05"})

log: Final = structlog.get_logger(__name__)


class StatementNames:
    """Decides for the connections of one engine: by what the address says, else by what the first one shows.

    Whoever answers at the start of a connection tells the number of the process that will serve it. PostgreSQL tells
    its own; a pooler cannot know it and tells another.
    """

    def __init__(self) -> None:
        self._named: bool | None = None

    @property
    def named(self) -> bool:
        """Whether a connection that is made now gives its statements names."""
        return bool(self._named)

    def watch(self, engine: Engine) -> None:
        """Have a say in how `engine` connects."""
        event.listen(engine, "do_connect", self._connect)
        event.listen(engine, "handle_error", self._look_at)

    def _connect(self, dialect: Dialect, record: Any, cargs: list[Any], cparams: dict[str, Any]) -> Any:
        if self._named is None and _CACHE in cparams:
            self._named = cparams[_CACHE] > 0
        if self._named is None:
            return self._first(dialect, cargs, cparams)
        return dialect.connect(*cargs, **(cparams if self._named else cparams | _NAMELESS))

    def _first(self, dialect: Dialect, cargs: list[Any], cparams: dict[str, Any]) -> Any:
        connection: Any = dialect.connect(*cargs, **cparams | _NAMELESS)
        try:
            self._named = not connection.run_async(_is_behind_pooler)
        except BaseException:
            connection.terminate()
            raise
        if not self._named:
            log.info("a pooler stands before the database: statements get no names")
            return connection
        connection.close()
        return dialect.connect(*cargs, **cparams)

    def lost(self, error: BaseException) -> bool:
        """Whether `error` tells of a name that was lost: then there are none from now on.

        It was a pooler that did not show, or that came later.
        """
        if getattr(error, "sqlstate", None) not in _LOST or not self._named:
            return False
        log.warning("the database lost a prepared statement: statements get no names from now on")
        self._named = False
        return True

    def _look_at(self, context: ExceptionContext) -> None:
        if self.lost(context.original_exception):
            context.is_disconnect = True


async def _is_behind_pooler(connection: Any) -> bool:
    async with connection.transaction():
        return bool(await connection.fetchval("SELECT pg_backend_pid()") != connection.get_server_pid())
