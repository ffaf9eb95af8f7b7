"""Connections to PostgreSQL: only to a primary, and none to a server that has left or fallen silent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from typing import Any, Final

from sqlalchemy import URL, Engine, ExceptionContext, event
from sqlalchemy.exc import InvalidatePoolError

from mlops_backend.services.other.database.failures import is_left, sqlstate
from mlops_backend.services.other.database.statement_names import StatementNames

CONNECT: Final = 3.0
PING: Final = 2.0
# One round trip, within one transaction, as a pooler wants it; a standby refuses to begin it.
_BEGIN: Final = "BEGIN READ WRITE; COMMIT"
# Where statements have names, this has one too, and tells when a pooler has lost them.
_ASK: Final = "SELECT pg_catalog.pg_is_in_recovery()"
_STANDBY: Final = "0A000"
_NOT_PRIMARY: Final = "a standby answers, which cannot be written to; the primary is looked for"
_NEW: Final = "mlops_new"
_WANTED: Final = "target_session_attrs"
# A path that swallows packets is noticed by the system though somebody only waits: after so many seconds.
_TCP: Final[Mapping[str, int]] = {
    "TCP_USER_TIMEOUT": 5000,
    "TCP_KEEPIDLE": 3,
    "TCP_KEEPINTVL": 1,
    "TCP_KEEPCNT": 3,
}


class NotPrimary(ConnectionError):
    """A standby answers where the primary should."""


def arguments_for(url: URL) -> dict[str, Any]:
    """What the driver is told besides `url`: to give up soon, and of several hosts to choose the primary."""
    several = isinstance(url.query.get("host"), tuple) or "," in str(url.query.get("host", ""))
    return {"timeout": CONNECT, **({_WANTED: "primary"} if several and _WANTED not in url.query else {})}


def look_out(engine: Engine, url: URL, names: StatementNames) -> None:
    """Look at each connection of `engine`; `target_session_attrs` may ask for another server than a primary."""
    _Lookout(names, url.query.get(_WANTED, "primary") in {"primary", "read-write"}).watch(engine)


class _Lookout:
    """Looks at each connection when it is made, and again each time that it is handed out.

    Args:
        names: whether statements have some.
        primary: whether it must lead to a primary.
    """

    def __init__(self, names: StatementNames, primary: bool) -> None:
        self._names = names
        self._primary = primary

    def watch(self, engine: Engine) -> None:
        """Be there for all connections of `engine`."""
        event.listen(engine, "connect", self._made)
        event.listen(engine, "checkout", self._handed_out)
        event.listen(engine, "handle_error", _give_up)

    def _made(self, connection: Any, record: Any) -> None:
        try:
            connection.run_async(_notice_silence)
            connection.run_async(self._begin)
        except BaseException:
            connection.run_async(_terminated)
            raise
        record.info[_NEW] = True

    def _handed_out(self, connection: Any, record: Any, _: Any) -> None:
        if record.info.pop(_NEW, False):
            return
        try:
            connection.run_async(self._ask if self._names.named else self._begin)
        except Exception as error:
            self._names.lost(error)
            connection.run_async(_terminated)
            raise InvalidatePoolError from error

    async def _begin(self, connection: Any) -> None:
        try:
            await _soon(connection, connection.execute(_BEGIN if self._primary else ";"))
        except Exception as error:
            if sqlstate(error) == _STANDBY:
                raise NotPrimary(_NOT_PRIMARY) from None
            raise

    async def _ask(self, connection: Any) -> None:
        if await _soon(connection, connection.fetchval(_ASK)) and self._primary:
            raise NotPrimary(_NOT_PRIMARY)


async def _soon(connection: Any, answer: Awaitable[Any]) -> Any:
    """The end of the connection wakes who waits too long; to cancel the statement would need another connection."""
    timer = asyncio.get_running_loop().call_later(PING, connection.terminate)
    try:
        return await answer
    finally:
        timer.cancel()


async def _terminated(connection: Any) -> None:
    connection.terminate()


async def _notice_silence(connection: Any) -> None:
    """asyncpg has no public way to its socket."""
    found = connection._transport.get_extra_info("socket")
    if found is None or found.family == getattr(socket, "AF_UNIX", None):
        return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _TCP.items():
        if hasattr(socket, name):
            with suppress(OSError):
                found.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _give_up(context: ExceptionContext) -> None:
    """What leads to that server is thrown away, all of it."""
    if is_left(context.original_exception):
        context.is_disconnect = True
