"""Who answers at the address of Redis, and its client: of one server, of one that Sentinels name, or of a cluster."""

from __future__ import annotations

from typing import Any, Final

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisClusterException, RedisError, ResponseError

from mlops_backend.redis_sentinels import client_of_primary
from mlops_backend.sentinel_address import sentinel_address

REDIS_ERRORS: Final = (RedisError, RedisClusterException, OSError, TimeoutError)
MOST_AT_ONCE: Final = 32
_CONNECT: Final = 0.5
_READ: Final = 1.0
_CHECK_IDLE_AFTER: Final = 30
_CUT: Final = ("closed by server", "reset by peer")
Client = Redis | RedisCluster


class UnfitRedis(RedisError):
    """What answers can never keep the counters."""


def client_of_one(url: str) -> Redis:
    """A client of the server at `url`, or of the primary that the Sentinels there name."""
    if watched := sentinel_address(url):
        return client_of_primary(watched, _choices())
    return Redis.from_pool(ConnectionPool.from_url(url, **_choices()))


def client_of_cluster(url: str) -> RedisCluster:
    """A client of the cluster that the server at `url` belongs to.

    Raises:
        UnfitRedis: no cluster can be reached by such an address.
    """
    if url.startswith("unix:"):
        raise UnfitRedis("this is one of a cluster, which is reached over TCP: name its host and port in REDIS_URL")
    if sentinel_address(url):
        raise UnfitRedis("this is one of a cluster, which needs no Sentinel: name its host and port in REDIS_URL")
    return RedisCluster.from_url(url, **_choices())


def hint(url: str, error: BaseException) -> str:
    """What may be wrong with the address, where the client's words for a failed connection do not tell."""
    words = str(error)
    scheme = url.partition(":")[0]
    if scheme.startswith("rediss") and words and "CERTIFICATE" not in words:
        return f"; REDIS_URL begins with {scheme}://, so TLS must be spoken at that port"
    if not scheme.startswith("rediss") and any(word in words for word in _CUT):
        return f"; where TLS is spoken, REDIS_URL must begin with {scheme.replace('redis', 'rediss')}://"
    return ""


async def is_cluster(client: Redis) -> bool:
    """Whether who answers is one of several.

    Raises:
        UnfitRedis: it is a Sentinel.
    """
    try:
        ask: Any = client.execute_command
        told = await ask("HELLO")
    except AuthenticationError:
        raise
    except ResponseError:  # an old one, or a proxy: both behave as one server
        return False
    mode = _field(told, b"mode")
    if mode == b"sentinel":
        raise UnfitRedis(
            "this is a Sentinel, which keeps no counters: write redis+sentinel://host:port/name in REDIS_URL, with the "
            "name of the Redis that it watches"
        )
    return mode == b"cluster"


def _field(told: Any, name: bytes) -> bytes:
    pairs: dict[Any, Any] = told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=False))
    found: Any = pairs.get(name, pairs.get(name.decode(), b""))
    return found.encode() if isinstance(found, str) else bytes(found)


def _choices() -> dict[str, Any]:
    return {
        # two more for what runs beside the requests
        "max_connections": MOST_AT_ONCE + 2,
        "socket_connect_timeout": _CONNECT,
        "socket_timeout": _READ,
        "health_check_interval": _CHECK_IDLE_AFTER,
        # the name of a connection is an ornament, which a user of Redis may be forbidden to set
        "driver_info": None,
        "protocol": 2,
        # a script that is run again would take twice
        "retry": Retry(NoBackoff(), 0),
    }
