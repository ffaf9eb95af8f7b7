"""The database: SQLite in a file, or PostgreSQL; one engine, and one word for its being away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import monotonic
from typing import Final, TypeVar

import structlog
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mlops_backend.errors import DatabaseBusy, DatabaseDown
from mlops_backend.services.other.database.apart import upgrade_apart
from mlops_backend.services.other.database.at_once import AtOnce, Statements
from mlops_backend.services.other.database.engines import WRITING, patient_engine, postgres_engine, sqlite_engine
from mlops_backend.services.other.database.failures import AWAY, Watched
from mlops_backend.services.other.database.migrating import NewerDatabase, is_behind, is_writable, upgrade
from mlops_backend.services.other.database.refusals import refuse_refusal
from mlops_backend.services.other.database.sqlite_driver import sqlite_driver
from mlops_backend.services.other.database.sqlite_file import UnusableDatabase, prepare_file, refuse_garbage
from mlops_backend.services.other.database.state import State
from mlops_backend.services.other.database.statement_names import StatementNames
from mlops_backend.shares import ASKING, NoTurn, Shares

_RETRY_AFTER: Final = 1.0
_OPEN_TIMEOUT: Final = 10.0
_POOL_TIMEOUT: Final = 5.0
_BUSY_TIMEOUT: Final = 10.0
_CONNECTIONS: Final = 15
# Of those that there may be: who is asked for leaves some to the keys and the ledger.
_WRITERS: Final = 2 / 3
_READERS: Final = 8 / 15
_THREADS_TIMEOUT: Final = 0.5
_READ_ONLY: Final = "its transactions are read-only, as default_transaction_read_only says"

T = TypeVar("T")

log: Final = structlog.get_logger(__name__)


class Database:
    """Connections, and the state of what is behind them.

    It may be away when the service starts: the service starts without it, and its tables are brought up to date when
    it comes; in a process of their own with `steps_apart`.

    Args:
        url: SQLAlchemy's, with an asynchronous driver.
        called: the setting that it comes from, for people.
        connections: how many there may be at once.
    """

    def __init__(self, url: str, called: str = "DATABASE_URL", connections: int = _CONNECTIONS) -> None:
        self._url = make_url(url)
        self._called = called
        self._connections = connections
        self._file = Path(self._url.database) if self.is_sqlite and self._url.database else None
        self._engine: AsyncEngine | None = None
        self._at_once: AtOnce | None = None
        self._names = StatementNames()
        self._driver = sqlite_driver() if self.is_sqlite else None
        self._ready = False
        self._opening: asyncio.Task[None] | None = None
        self.steps_apart = False
        self.reading_state = State("the database is away", "the database answers again")
        self.writing_state = State("the database cannot be written to", "the database is written to again")
        self._closing = False
        writers = 1 if self.is_sqlite else int(_WRITERS * connections)
        readers = int(_READERS * connections)
        self._turn = Shares(writers, max(1, writers // 2), _BUSY_TIMEOUT)
        self._readers = Shares(readers, max(1, readers // 2), _BUSY_TIMEOUT)

    @property
    def up(self) -> bool:
        """Whether it can be read and written to."""
        return self.reading_state.up and self.writing_state.up

    @property
    def trouble(self) -> str:
        """What keeps it from being read or written to, for the operator; empty when nothing does."""
        told, host = self.reading_state.trouble or self.writing_state.trouble, self._url.host
        return told if not told or host is None or host in told else f"{told} ({host})"

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of this machine."""
        return self._url.get_backend_name() == "sqlite"

    def beside(self, url: str, called: str) -> Database:
        """Another one, reached in the same way."""
        return type(self)(url, called, self._connections)

    async def open(self) -> None:
        """Connect and bring the tables up to date; what takes long, or is away, is waited for in the background.

        Raises:
            NewerDatabase: a newer version of this service wrote it.
            UnusableDatabase: it is none, and will not become one.
        """
        first = asyncio.create_task(self._migrate())
        try:
            await asyncio.wait({first}, timeout=_OPEN_TIMEOUT)
        except asyncio.CancelledError:
            first.cancel()
            await asyncio.wait({first})
            raise
        if first.done() and not isinstance(first.exception(), DatabaseDown):
            return first.result()
        self._opening = asyncio.create_task(self._migrate_later(first))

    async def aclose(self) -> None:
        """Close every connection."""
        self._closing = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
            self._opening = None
        if self._at_once is not None:
            await self._at_once.aclose(_THREADS_TIMEOUT)
            self._at_once = None
        if self._engine is not None:
            await self._engine.dispose()
        if self._driver is not None:
            await self._driver.ended(_THREADS_TIMEOUT)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read with.

        Raises:
            DatabaseDown: it cannot be reached.
        """
        began = monotonic()
        async with self._readers_turn(), self._connection(began, writing=False) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: committed at the end of the block, rolled back when an error leaves it.

        Raises:
            DatabaseBusy: others write, and it did not come to this one.
            DatabaseDown: it cannot be reached; whether the last commit happened is not known then.
        """
        began = monotonic()
        async with self._writers_turn(), self._connection(began, writing=True) as connection, connection.begin():
            yield connection

    async def transaction(self, work: Callable[[Statements], Awaitable[T]]) -> T:
        """Run `work` in a transaction as `writing` does; it waits for nothing but its own statements.

        SQLite runs the whole of it in a thread, where it may go on when the one who asked has left.

        Raises:
            DatabaseBusy, DatabaseDown: see `writing`.
        """
        if not self.is_sqlite:
            async with self.writing() as connection:
                return await work(connection)
        began = monotonic()
        async with self._writers_turn():
            if self._closing:
                raise DatabaseDown(AWAY)
            with self._using(began, writing=True):
                self._at_once = self._at_once or AtOnce(self._url, _BUSY_TIMEOUT)
                return await self._at_once.write(work)

    @asynccontextmanager
    async def migrating(self) -> AsyncIterator[AsyncConnection]:
        """A transaction on the tables at whatever step they are, for those who change it.

        Raises:
            DatabaseDown: it cannot be reached.
            UnusableDatabase: it is none, and will not become one.
        """
        self._engine = self._engine or self._create_engine()
        with Watched(self.reading_state, self._file), self._named():
            if self._file is not None:
                prepare_file(self._file)
            async with self._patiently(self._engine) as engine, engine.connect() as connection:
                await connection.execution_options(**{WRITING: True})
                async with connection.begin():
                    yield connection

    @asynccontextmanager
    async def _patiently(self, engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
        """An engine whose statements may take as long as they need, as those of SQLite may anyway."""
        if self.is_sqlite:
            yield engine
            return
        patient = patient_engine(self._url, self._names)
        try:
            yield patient
        finally:
            await patient.dispose()

    @asynccontextmanager
    async def _writers_turn(self) -> AsyncIterator[None]:
        """Writers stand in a line before they take a connection.

        SQLite has one at a time, and would let the others look again and again. Those who wait for a row of PostgreSQL
        must not take all of its connections.
        """
        try:
            async with self._turn.turn(ASKING.get()):
                yield
        except NoTurn:
            raise DatabaseBusy("Too many write to the database at present; try again soon.") from None

    @asynccontextmanager
    async def _readers_turn(self) -> AsyncIterator[None]:
        """Who is asked for waits for a turn; keys and the ledger, which everybody needs, find a connection always."""
        if not (who := ASKING.get()):
            yield
            return
        try:
            async with self._readers.turn(who):
                yield
        except NoTurn:
            raise DatabaseBusy("Too many read from the database at present; try again soon.") from None

    @asynccontextmanager
    async def _connection(self, began: float, *, writing: bool) -> AsyncIterator[AsyncConnection]:
        with self._using(began, writing=writing) as engine:
            async with engine.connect() as connection:
                yield await connection.execution_options(**{WRITING: writing})

    @contextmanager
    def _using(self, began: float, *, writing: bool) -> Iterator[AsyncEngine]:
        """Know from what happens in the block how the database is."""
        state = self.writing_state if writing else self.reading_state
        if self._engine is None or not self._ready or state.went_since(began):
            raise DatabaseDown(AWAY)
        with Watched(state, self._file):
            yield self._engine
        state.works()
        if self.writing_state.passing:
            self.writing_state.works()

    async def _migrate(self) -> None:
        if self.steps_apart and await self._is_behind():
            await upgrade_apart(self._url.render_as_string(hide_password=False))
        async with self.migrating() as connection:
            self.reading_state.reason = "its tables are being brought up to date"
            await upgrade(connection)
            writable = await is_writable(connection)
        self._ready = True
        self.reading_state.works()
        if writable:
            self.writing_state.works()
        else:
            self.writing_state.fails(_READ_ONLY)

    async def _is_behind(self) -> bool:
        async with self.migrating() as connection:
            behind = await is_behind(connection)
        self.reading_state.reason = "its tables are being brought up to date" if behind else ""
        return behind

    async def _migrate_later(self, first: asyncio.Task[None]) -> None:
        """Wait for the first try, and try again until it is done."""
        attempt: Awaitable[None] | None = first
        # An error of a driver that tidies up can take the place of a cancel: the flag ends what that should have.
        while not self._ready and not self._closing:
            try:
                await (attempt or self._migrate())
            except (NewerDatabase, UnusableDatabase) as error:
                self.reading_state.fails(str(error))
                log.error("the database stays unused", error=str(error))
                return
            except DatabaseDown:
                attempt = None
                await asyncio.sleep(0 if self._closing else _RETRY_AFTER)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say by which setting an operator can mend what waiting does not."""
        try:
            try:
                yield
            except DBAPIError as error:
                if self._file is not None:
                    refuse_garbage(error.orig, self._file)
                else:
                    refuse_refusal(error)
                raise
        except UnusableDatabase as error:
            raise UnusableDatabase(f"{self._called}: {error}") from None

    def _create_engine(self) -> AsyncEngine:
        if self.is_sqlite:
            return sqlite_engine(self._url, self._driver, self._connections, _POOL_TIMEOUT, _BUSY_TIMEOUT)
        return postgres_engine(self._url, self._names, self._connections, _POOL_TIMEOUT)
