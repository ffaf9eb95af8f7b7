"""Bringing the tables up to date: Alembic's steps, in one transaction, by one process at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from mlops_backend.services.other.database.refusals import check_encoding
from mlops_backend.services.other.database.tables import HEAD
from mlops_backend.services.other.database.turns import Turn, take_turn

_SCRIPTS: Final = Path(__file__).parents[3] / "migrations"

log: Final = structlog.get_logger(__name__)


class NewerDatabase(Exception):
    """A newer version of this service wrote the database; this one could only break it."""


class UnknownStep(Exception):
    """There is no such step."""


async def upgrade(connection: AsyncConnection, target: str = HEAD) -> None:
    """Bring the tables up to `target`; called inside a writer's transaction.

    Raises:
        NewerDatabase: they are at a step that is not known here.
        UnusableDatabase: the database cannot keep every text.
    """
    await _lock(connection)
    await connection.run_sync(_upgrade, target)


async def downgrade(connection: AsyncConnection, target: str) -> None:
    """Take the tables back to `target`, `base` for none; what a step added is lost.

    Raises:
        NewerDatabase: they are at a step that is not known here.
        UnknownStep: `target` is none, or a later one.
    """
    await _lock(connection)
    at = await current(connection) or ""
    _check_known(at)
    if target != "base" and (target not in _known_steps() or target > at):
        raise UnknownStep(f"There is no step {target!r} to go back to; the tables are at {at or 'base'}.")
    await connection.run_sync(_run, "downgrade", target)


async def current(connection: AsyncConnection) -> str | None:
    """The step that the tables are at."""
    return await connection.run_sync(_current)


async def is_behind(connection: AsyncConnection) -> bool:
    """Whether there are steps to take; a step that is not known here is none of them."""
    at = await current(connection)
    return at is None or (at != HEAD and at in _known_steps())


async def is_writable(connection: AsyncConnection) -> bool:
    """Whether anything could be written in this transaction."""
    if connection.dialect.name != "postgresql":
        return True
    return bool((await connection.execute(text("SELECT current_setting('transaction_read_only') = 'off'"))).scalar())


async def _lock(connection: AsyncConnection) -> None:
    """One process at a time, for as long as it takes; SQLite's writers are that already."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
    await take_turn(connection, Turn.MIGRATION)


def _upgrade(connection: Connection, target: str) -> None:
    at = _current(connection)
    if at == target:
        return
    _check_known(at or "")
    if connection.dialect.name == "postgresql":
        check_encoding(connection.execute(text("SELECT current_setting('server_encoding')")).scalar_one())
    if at:  # with what is there it may take minutes
        log.info("the database's tables are brought up to date", at=at, step=target)
    _run(connection, "upgrade", target)
    log.info("the database's tables are up to date", step=target)


def _check_known(at: str) -> None:
    if at and at not in _known_steps():
        raise NewerDatabase(
            f"The database is at step {at}, which is not known here: a newer version of the service wrote it."
        )


def _known_steps() -> set[str]:
    return {path.stem.partition("_")[0].removeprefix("m") for path in (_SCRIPTS / "versions").glob("m*.py")}


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _run(connection: Connection, command: str, target: str) -> None:
    # Alembic costs 30 ms and 4 MB to import, and is needed by the first start of a version only.
    from alembic import command as alembic
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_SCRIPTS))
    config.set_main_option("path_separator", "os")
    getattr(alembic, command)(config, target)
