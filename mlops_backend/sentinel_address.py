"""The address of a Redis that Sentinels watch: `redis+sentinel://user:password@host:26379,host:26379/name/0`.

`rediss+sentinel://` speaks TLS with all of them. User, password, database and parameters are those of the Redis;
`sentinel_username` and `sentinel_password` are what the Sentinels themselves ask for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_plus

_SCHEMES: Final = {"redis+sentinel": "redis", "rediss+sentinel": "rediss"}
_PORT: Final = "26379"
_OWN: Final = ("sentinel_username", "sentinel_password")


@dataclass(frozen=True, slots=True)
class SentinelAddress:
    """Where the Sentinels are, what they call the Redis, and how it is spoken to.

    `server` is the address of such a Redis, on a host that stands for any.
    """

    authorities: Sequence[str]
    name: str
    server: str = field(repr=False)
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)


def sentinel_address(url: str) -> SentinelAddress | None:
    """What an address says of Sentinels; `None` for every other one.

    Raises:
        ValueError: a parameter of the Sentinels' stands there twice.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in _SCHEMES:
        return None
    rest, cut, fragment = rest.partition("#")
    rest, mark, query = rest.partition("?")
    place, _, path = rest.partition("/")
    login, at, hosts = place.rpartition("@")
    name, _, database = path.partition("/")
    own, others = _parted(query.split("&") if mark else [])
    server = f"{_SCHEMES[scheme]}://{login}{at}localhost"
    server += (f"/{database}" if database else "") + (f"?{'&'.join(others)}" if others else "") + cut + fragment
    return SentinelAddress(tuple(map(_with_port, hosts.split(","))), name, server, *(own.get(each) for each in _OWN))


def host_and_port(authority: str) -> tuple[str, int]:
    """Both of one of its authorities; an address of IPv6 without its brackets."""
    host, _, port = authority.rpartition(":")
    return host.strip("[]"), int(port)


def _parted(pairs: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The Sentinels' parameters, and the rest."""
    own: dict[str, str] = {}
    others = []
    for pair in pairs:
        name, _, value = pair.partition("=")
        if name not in _OWN:
            others.append(pair)
        elif name in own:
            raise ValueError("each parameter may stand there once only")
        else:
            own[name] = unquote_plus(value)
    return own, others


def _with_port(authority: str) -> str:
    return authority if ":" in authority.rpartition("]")[2] else f"{authority}:{_PORT}"
