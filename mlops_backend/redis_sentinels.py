"""The client of a Redis that Sentinels watch: it goes to whom they name as the primary, after a failover too."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.exceptions import RedisError

from mlops_backend.sentinel_address import SentinelAddress, host_and_port

_LOGIN: Final = ("username", "password", "db")
# Seconds from one look to the next.
_PAUSE: Final = 1.0
_PLACE: Final = ("host", "port", "connection_class")


class _PrimaryPool(SentinelConnectionPool):
    """Connections to the primary, and those to the Sentinels, which are closed with them.

    While it is used the Sentinels are asked every second: of a failover that somebody asks for, the old primary, which
    stays up, is told some ten seconds later, and takes until then what is lost.
    """

    _look_at = inf
    _look: asyncio.Task[None] | None = None

    async def ensure_connection(self, connection: Any) -> None:
        """Have it connected to whom the Sentinels named last."""
        if monotonic() >= self._look_at:
            self._look_at = inf  # until it has been looked
            self._look = asyncio.create_task(self._looked())
        if self.master_address not in (None, (connection.host, connection.port)):
            await connection.disconnect()
        await super().ensure_connection(connection)

    async def get_master_address(self) -> tuple[str, int]:
        """Who it is now.

        Raises:
            MasterNotFoundError: none of the Sentinels names one, and one at least is not reached.
            RedisError: all of them answer, and none names one.
        """
        named: Any = super().get_master_address  # redis-py gives these no types
        try:
            host, port = await named()
        except MasterNotFoundError:
            asked = [_Said(sentinel, self.service_name) for sentinel in self.sentinel_manager.sentinels]
            said = await asyncio.gather(*(each.words() for each in asked))
            kind = RedisError if all(each.answered for each in asked) else MasterNotFoundError
            raise kind(f"no Sentinel names a primary {self.service_name!r}: {'; '.join(said)}") from None
        self._look_at = monotonic() + _PAUSE
        return host, port

    async def aclose(self) -> None:
        """Close all of them."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.gather(self._look, return_exceptions=True)
        try:
            await super().aclose()
        finally:
            await self.sentinel_manager.aclose()

    async def _looked(self) -> None:
        """The primary that is there goes on to be used while no Sentinel names another."""
        try:
            with suppress(RedisError, OSError):
                await self.get_master_address()
        finally:
            self._look_at = monotonic() + _PAUSE


class _Said:
    """What one Sentinel says of a Redis, in words for the operator."""

    def __init__(self, sentinel: Redis, name: str) -> None:
        self._sentinel, self._name = sentinel, name
        self.answered = True

    async def words(self) -> str:
        """Ask it."""
        place = self._sentinel.connection_pool.connection_kwargs
        return f"{place['host']}:{place['port']}: {await self._asked()}"

    async def _asked(self) -> str:
        ask: Any = self._sentinel.execute_command
        try:
            known = await ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name)
        except RedisError as error:
            self.answered = False
            return str(error) or type(error).__name__
        return "it is held to be down" if known else "there is none of that name"


def client_of_primary(address: SentinelAddress, choices: Mapping[str, Any]) -> Redis:
    """A client of the primary that the Sentinels at `address` name; connections are made with `choices`."""
    of_server: Any = parse_url(address.server)
    encryption = {name: value for name, value in of_server.items() if name not in (*_LOGIN, *_PLACE)}
    if address.server.startswith("rediss:"):
        encryption["ssl"] = True
    login = {name: of_server[name] for name in _LOGIN if name in of_server}
    asking = {**choices, **encryption, "username": address.username, "password": address.password}
    make: Any = Sentinel
    sentinels = make([host_and_port(each) for each in address.authorities], sentinel_kwargs=asking)
    client: Redis = sentinels.master_for(
        address.name, connection_pool_class=_PrimaryPool, **choices, **encryption, **login
    )
    return client
