"""What a failure says of the database itself: it is away, it is busy, or it is all right and the statement is not."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mlops_backend.errors import DatabaseBusy, DatabaseDown
from mlops_backend.services.other.database.sqlite_file import in_full
from mlops_backend.services.other.database.state import State

AWAY: Final = "The database cannot be reached at present; try again soon."
_BUSY: Final = "The database takes too long at present; try again soon."
_LONGEST_REASON: Final = 500
# Beginnings of SQLSTATE. Whoever answers so is not who is needed any more, or will not be soon: a connection that is
# broken, a server that ends, starts or recovers, one that has become a standby, and a session that it has ended.
_LEFT: Final = ("08", "57P", "25006", "25P03")
# It has no room left for anything, or its disk fails: another connection finds nothing better.
_UNFIT: Final = ("53", "58")
# Those of a timeout of statements or of locks, and of two that stood in each other's way.
_OCCUPIED: Final = ("57014", "55P03", "40001", "40P01")
_READ_ONLY: Final = "25006"


def sqlstate(error: BaseException | None) -> str:
    """PostgreSQL's code for what is wrong; empty where it gave none."""
    return str(getattr(error, "sqlstate", None) or "")


def is_left(error: BaseException | None) -> bool:
    """Whether this connection, and those made before it, lead to a server that is of no use any more."""
    return sqlstate(error).startswith(_LEFT)


class Watched:
    """Turns a failure of the database itself into `DatabaseDown` or `DatabaseBusy`; a statement's own fault passes.

    Args:
        state: what is tried, and cannot be done when it fails.
        file: SQLite's.
    """

    def __init__(self, state: State, file: Path | None) -> None:
        self._state = state
        self._file = file

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        cause = getattr(error, "orig", None) or error
        if isinstance(error, DBAPIError) and sqlstate(cause).startswith(_OCCUPIED):
            raise DatabaseBusy(_BUSY) from error
        if _is_away(error):
            words = str(cause) if self._file is None else in_full(cause, self._file)
            self._state.fails((words or type(cause).__name__)[:_LONGEST_REASON], _passes_with_connection(error, cause))
            raise DatabaseDown(AWAY) from error


def _is_away(error: BaseException) -> bool:
    if isinstance(error, DBAPIError):
        return not isinstance(error, IntegrityError) and (_is_operational(error) or _says_so(error.orig))
    # What asyncpg raises while it connects comes as it is: a server that starts or ends, or takes no more.
    return isinstance(error, PoolTimeout | OSError) or type(error).__module__.startswith("asyncpg.")


def _is_operational(error: DBAPIError) -> bool:
    return error.connection_invalidated or type(error).__name__ in {"OperationalError", "InterfaceError"}


def _says_so(cause: BaseException | None) -> bool:
    return sqlstate(cause).startswith((*_LEFT, *_UNFIT))


def _passes_with_connection(error: BaseException, cause: BaseException) -> bool:
    """Whether a new connection to a primary ends it, also for those who wrote; read-only may be the whole database."""
    if not isinstance(error, DBAPIError):
        return True
    return error.connection_invalidated and sqlstate(cause) != _READ_ONLY
