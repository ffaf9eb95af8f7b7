"""`quart --app wsgi keys …` and `quart --app wsgi db …`: keys and tables without the service.

Standard output gets the result alone, so that a script can take it; everything else goes to standard error.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import click
from pydantic import ValidationError
from quart.cli import ScriptInfo
from sqlalchemy.exc import SQLAlchemyError

from mlops_backend.errors import AppError, InvalidBody
from mlops_backend.middleware.request_context import services_of
from mlops_backend.principal import ORDINARY, Priority, Scope
from mlops_backend.schemas.keys import CreateKeyRequest, ListKeysQuery, RotateKeyRequest
from mlops_backend.services.other.audit import AuditLog
from mlops_backend.services.other.database import (
    Database,
    NewerDatabase,
    NotEmpty,
    UnknownStep,
    UnusableDatabase,
    copy_all,
    current,
    downgrade,
    upgrade,
)
from mlops_backend.services.other.deed import Deed, audited
from mlops_backend.services.other.keys import ApiKeys
from mlops_backend.services.registry import Services
from mlops_backend.setting_stores import database_url
from mlops_backend.telemetry.logging import mask_url, silence

T = TypeVar("T")

Work = Callable[[Services], Awaitable[T]]

_DURATION: Final = re.compile(r"(\d{1,9})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SCOPES: Final = ", ".join(Scope)
_PAGE: Final = 200
_COLUMNS: Final = ("id", "state", "name", "owner", "scopes", "expires_at")


@click.group()
def keys() -> None:
    """Keys in the database; a service that runs takes a change over within a second."""


@click.group()
def db() -> None:
    """The database's tables; a service brings them up to date itself when it starts."""


COMMANDS: Final = (keys, db)


@keys.command()
@click.option("--name", required=True, help="What it is for.")
@click.option("--owner", default="", help="Whose it is.")
@click.option("--scope", "scopes", multiple=True, help=f"{_SCOPES}; repeatable.")
@click.option("--model", "models", multiple=True, help="A model, or a pattern such as llama3*; repeatable.")
@click.option("--priority", default=Priority.INTERACTIVE, help="interactive, or batch, which gives way in the queue.")
@click.option("--weight", default=1.0, help="How much of a share it has in the queue.")
@click.option("--cache", is_flag=True, help="Keep answers that are the same each time.")
@click.option("--expires", help="30d, 12h, 90m, or a time such as 2027-01-31T12:00:00Z.")
@click.option("--limit", "limits", multiple=True, help="requests=60/minute, tokens_per_day=off, …; repeatable.")
@click.option("--end-user-limit", "end_user_limits", multiple=True, help="The same, of each end user; repeatable.")
@click.pass_obj
def create(
    info: ScriptInfo,
    name: str,
    owner: str,
    scopes: Sequence[str],
    models: Sequence[str],
    priority: str,
    weight: float,
    cache: bool,
    expires: str | None,
    limits: Sequence[str],
    end_user_limits: Sequence[str],
) -> None:
    """Make a key, and print it: this once."""
    deed = Deed("key.create")

    async def work(services: Services) -> None:
        asked = {
            "name": name,
            "owner": owner,
            "scopes": set(scopes or ORDINARY),
            "models": list(models),
            "limits": dict(map(_limit, limits)),
            "end_user_limits": dict(map(_limit, end_user_limits)),
            "priority": priority,
            "weight": weight,
            "cache": cache,
            "expires_at": None if expires is None else _moment(expires),
        }
        key, secret = await services.get(ApiKeys).create(CreateKeyRequest.model_validate(asked))
        deed.target, deed.changed = key.id, sorted(asked)
        _print_secret(key.id, secret)

    _run(info, work, deed)


@keys.command("list")
@click.option("--owner", help="Keys of this owner only.")
@click.option("--name", help="Keys with this text in their name.")
@click.option("--revoked", is_flag=True, help="Revoked keys too.")
@click.pass_obj
def list_(info: ScriptInfo, owner: str | None, name: str | None, revoked: bool) -> None:
    """List the keys, one a line, oldest first; columns are apart by a tab."""

    async def work(services: Services) -> None:
        lines, after = ["\t".join(_COLUMNS)], None
        while True:
            page = ListKeysQuery(after=after, limit=_PAGE, owner=owner, name=name, revoked=revoked)
            found, after = await services.get(ApiKeys).page(page)
            for key in found:
                shown = {**key.shown(), "scopes": ",".join(key.scopes)}
                lines.append("\t".join(str(shown[column] or "-") for column in _COLUMNS))
            if after is None:
                break
        click.echo("\n".join(lines))

    _run(info, work)


@keys.command()
@click.argument("key_id")
@click.pass_obj
def show(info: ScriptInfo, key_id: str) -> None:
    """Print all about a key, as JSON."""

    async def work(services: Services) -> None:
        click.echo(json.dumps((await services.get(ApiKeys).get(key_id)).shown(), indent=2, ensure_ascii=False))

    _run(info, work)


@keys.command()
@click.argument("key_id")
@click.option("--overlap", default="0s", help="How long the old one stays good beside the new, such as 1h.")
@click.pass_obj
def rotate(info: ScriptInfo, key_id: str, overlap: str) -> None:
    """Give a key a new secret, and print it: this once."""

    async def work(services: Services) -> None:
        asked = RotateKeyRequest(overlap_seconds=int(_duration(overlap).total_seconds()))
        key, secret = await services.get(ApiKeys).rotate(key_id, asked.overlap_seconds)
        _print_secret(key.id, secret)

    _run(info, work, Deed("key.rotate", key_id))


@keys.command()
@click.argument("key_id")
@click.pass_obj
def revoke(info: ScriptInfo, key_id: str) -> None:
    """End a key for good."""

    async def work(services: Services) -> None:
        click.echo(f"{(await services.get(ApiKeys).revoke(key_id)).id} is revoked")

    _run(info, work, Deed("key.revoke", key_id))


@db.command("upgrade")
@click.pass_obj
def upgrade_(info: ScriptInfo) -> None:
    """Bring the tables up to date."""
    _migrate(info, lambda connection: upgrade(connection), Deed("database.upgrade"))


@db.command("downgrade")
@click.argument("target")
@click.pass_obj
def downgrade_(info: ScriptInfo, target: str) -> None:
    """Take the tables back to the step TARGET, `base` for none; what came with later steps is lost."""
    _migrate(info, lambda connection: downgrade(connection, target), Deed("database.downgrade", target))


@db.command("current")
@click.pass_obj
def current_(info: ScriptInfo) -> None:
    """Print the step that the tables are at."""
    _migrate(info, None)


@db.command("copy")
@click.argument("target_url")
@click.pass_obj
def copy_(info: ScriptInfo, target_url: str) -> None:
    """Copy all into the empty database TARGET_URL, in one transaction; stop the service first."""

    async def work(services: Services) -> None:
        target = services.get(Database).beside(database_url(target_url), "TARGET_URL")
        try:
            async with services.get(Database).reading() as source, target.migrating() as connection:
                copied = await copy_all(source, connection)
        finally:
            await target.aclose()
        click.echo("\n".join(f"{table}\t{count}" for table, count in copied.items()))

    _run(info, work, Deed("database.copy", mask_url(target_url)))


def _migrate(info: ScriptInfo, change: Callable[[Any], Awaitable[None]] | None, deed: Deed | None = None) -> None:
    async def work(services: Services) -> None:
        async with services.get(Database).migrating() as connection:
            if change is not None:
                await change(connection)
            step = await current(connection)
        click.echo(step or "base")

    _run(info, work, deed, opened=False)


def _run(info: ScriptInfo, work: Work[None], deed: Deed | None = None, *, opened: bool = True) -> None:
    """Do `work` with the application's services; whatever keeps it from being done is one line."""
    services: Services = services_of(info.load_app().extensions)
    silence()

    async def with_database() -> None:
        database = services.get(Database)
        try:
            if opened:
                await database.open()
            await (work(services) if deed is None else audited(services.get(AuditLog), deed, lambda: work(services)))
        finally:
            await database.aclose()

    try:
        asyncio.run(with_database())
    except (
        AppError,
        NewerDatabase,
        NotEmpty,
        UnknownStep,
        UnusableDatabase,
        ValidationError,
        ValueError,
        SQLAlchemyError,
        OSError,
    ) as error:
        click.echo(_sentence(error), err=True)
        sys.exit(1)


def _sentence(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"
    if isinstance(error, InvalidBody):
        return f"{'.'.join(map(str, error.details[0]['loc']))}: {error.details[0]['msg']}"
    return str(error).partition("\n")[0]


def _print_secret(key_id: str, secret: str) -> None:
    click.echo(f"{key_id}: this is shown once, and kept nowhere", err=True)
    click.echo(secret)


def _limit(text: str) -> tuple[str, str | int | None]:
    """`requests=60/minute` as a name and a value; `off` is no limit."""
    name, separator, value = text.partition("=")
    if not separator:
        raise ValueError(f"limits: {text!r} must be written name=value")
    if value.strip().lower() == "off":
        return name, None
    return name, int(value) if value.strip().isdecimal() else value


def _moment(text: str) -> str:
    if not _DURATION.fullmatch(text):
        return text
    length = _duration(text)
    try:
        return (datetime.now(UTC) + length).isoformat()
    except OverflowError:
        raise ValueError(f"{text!r} is too far away") from None


def _duration(text: str) -> timedelta:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no time: write it as 30d, 12h, 90m or 45s")
    try:
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    except OverflowError:
        raise ValueError(f"{text!r} is too far away") from None
