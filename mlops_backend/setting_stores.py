"""How the addresses of the database and of Redis are written in settings."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, urlsplit

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from mlops_backend.sentinel_address import SentinelAddress, sentinel_address
from mlops_backend.setting_addresses import is_authority, is_host, is_port

_DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
# What others call sslmode is asyncpg's ssl, with the same values.
_SSLMODE: Final = re.compile(r"([?&])sslmode=")
_PARAMETERS: Final = frozenset(
    {
        "host",
        "port",
        "user",
        "password",
        "database",
        "passfile",
        "ssl",
        "target_session_attrs",
        "krbsrvname",
        "gsslib",
        "prepared_statement_cache_size",
    }
)
_CHOICES: Final = {
    "ssl": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("any", "primary", "standby", "read-write", "read-only", "prefer-standby"),
    "gsslib": ("gssapi", "sspi"),
}
# What may be chosen in the address of Redis; all else is the service's own business, or nobody's.
_REDIS_PARAMETERS: Final = frozenset({"db", "username", "password"})
_REDIS_TLS: Final = frozenset(
    {
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_ciphers",
        "ssl_keyfile",
        "ssl_min_version",
        "ssl_password",
    }
)
_REDIS_CHECKS: Final = ("none", "optional", "required")
_REDIS_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_WATCHED_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")


def database_url(value: str) -> str:
    """The address of the database with the driver that is used here.

    Raises:
        ValueError: neither SQLite nor PostgreSQL.
    """
    scheme, separator, rest = value.partition("://")
    driver = _DRIVERS.get(scheme.lower())
    url = _SSLMODE.sub(r"\1ssl=", f"{driver}://{rest}")
    if driver is None or not separator or not rest.strip("/") or not _may_be_database(url):
        raise ValueError("must be written sqlite:///data/file.db or postgresql://user:password@host/database")
    return url


def _may_be_database(url: str) -> bool:
    """Whether it can be read; a file of SQLite's has no host: `sqlite://file.db` lacks a slash.

    Raises:
        ValueError: it can be read, but means nothing, or not what it looks like.
    """
    try:
        read: URL = make_url(url)
        read.get_dialect()().create_connect_args(read)
    except (ArgumentError, ValueError):
        return False
    if not url.isprintable():
        return False
    if read.get_backend_name() != "sqlite":
        _check_server(read)
        return True
    _check_file(read)
    return not read.host


def _check_file(url: URL) -> None:
    name = url.database or ""
    if url.query or name.startswith("file:"):
        raise ValueError("a file of SQLite's has a path and no parameters")
    if name == ":memory:":
        raise ValueError("it must be a file: what is kept in memory ends with each connection")
    if name.startswith("~"):
        raise ValueError("only a shell knows what ~ is: write the whole path, with four slashes in all")


def _check_server(url: URL) -> None:
    """Raises ValueError for parameters that the driver here would stumble over, PostgreSQL's own tools' among them."""
    if unknown := sorted(set(url.query) - _PARAMETERS):
        raise ValueError(f"asyncpg knows no parameter {unknown[0]!r}")
    for name, values in _CHOICES.items():
        if name in url.query and url.query[name] not in values:
            raise ValueError(f"{name} must be one of {', '.join(values)}")
    several = [name for name, value in url.query.items() if isinstance(value, tuple) and name not in ("host", "port")]
    if several:
        raise ValueError(f"{several[0]} may stand there once only")
    _, arguments = url.get_dialect()().create_connect_args(url)
    hosts, ports = (_listed(arguments.get(name)) for name in ("host", "port"))
    if not all(host.startswith("/") or is_host(host) or is_host(f"[{host}]") for host in hosts):
        raise ValueError("its host is no name of a machine")
    if url.port == 0 or not all(map(is_port, ports)):
        raise ValueError("its port must be between 1 and 65535")


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def redis_url(value: str) -> str:
    """The address of Redis or Valkey, or of the Sentinels that watch it.

    Raises:
        ValueError: of another kind, or with what its client would overlook or stumble over.
    """
    watched = sentinel_address(value)
    server = watched.server if watched else value
    try:
        parts = urlsplit(server)
        known = server.startswith(("redis://", "rediss://", "unix://")) and value.isprintable()
        usable = known and _may_be_redis(parts) and (watched is None or _may_be_watched(watched))
    except ValueError:
        usable = False
    if value and not usable:
        raise ValueError(
            "must be written redis://host:6379/0, rediss://…, unix:///path/to/socket "
            "or redis+sentinel://host:26379,host:26379/name/0"
        )
    if value:
        _check_redis_parameters(parts)
    return value


def _may_be_redis(parts: SplitResult) -> bool:
    """Whether there is a server in it: a machine, with the number of its database as the path, or a socket's file."""
    authority = parts.netloc.rpartition("@")[2]
    if parts.fragment:
        return False
    if parts.scheme == "unix":
        return not authority and parts.path.startswith("/") and not parts.path.endswith("/")
    number = parts.path.removeprefix("/")
    host = authority if not authority.startswith(":") else f"localhost{authority}"
    return (not host or is_authority(host)) and (not number or bool(_REDIS_NUMBER.fullmatch(number)))


def _may_be_watched(address: SentinelAddress) -> bool:
    """Whether there are Sentinels in it, and a name that they may know."""
    return all(map(is_authority, address.authorities)) and bool(_WATCHED_NAME.fullmatch(address.name))


def _check_redis_parameters(parts: SplitResult) -> None:
    parameters = parse_qs(parts.query, keep_blank_values=True)
    known = _REDIS_PARAMETERS | (_REDIS_TLS if parts.scheme == "rediss" else frozenset())
    if unknown := sorted(parameters.keys() - known):
        raise ValueError(f"its address takes no parameter {unknown[0]!r} here")
    if any(len(values) > 1 for values in parameters.values()):
        raise ValueError("each parameter may stand there once only")
    first = {name: value for name, [value] in parameters.items()}
    if not _REDIS_NUMBER.fullmatch(first.get("db", "0")) or ("db" in first and parts.scheme != "unix" and parts.path):
        raise ValueError("db must be the number of a database, and say it alone")
    if first.get("ssl_cert_reqs", "none") not in _REDIS_CHECKS:
        raise ValueError(f"ssl_cert_reqs must be one of {', '.join(_REDIS_CHECKS)}")
    if not _REDIS_NUMBER.fullmatch(first.get("ssl_min_version", "0")):
        raise ValueError("ssl_min_version must be a number of Python's ssl.TLSVersion")
