"""The client of a Redis that Sentinels watch: it goes to whom they name as the primary, after a failover too."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.exceptions import RedisError

from mlops_backend.sentinel_address import SentinelAddress, host_and_port

_LOGIN: Final = ("username", "password", "db")
_PLACE: Final = ("host", "port", "connection_class")


class _PrimaryPool(SentinelConnectionPool):
    """Connections to the primary, and those to the Sentinels, which are closed with them."""

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
        return host, port

    async def aclose(self) -> None:
        """Close all of them."""
        try:
            await super().aclose()
        finally:
            await self.sentinel_manager.aclose()


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
