"""How single settings are written: each function reads one value, or says in a sentence what it wants."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from mlops_backend.principal import Price, Rate

RESERVED_NAMES: Final = ("admin", "anonymous")

_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_FAMILIES: Final = (["api"], ["v1"])
_SEGMENT: Final = re.compile(r"(?!\.+$)[A-Za-z0-9._~-]+")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_NO_LIMIT: Final = ("off", "none")
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
_DEAREST: Final = Decimal(1_000_000)

Network = IPv4Network | IPv6Network
Route = tuple[str, str]


def is_blank(value: Any) -> bool:
    """Whether nothing was written but spaces and commas."""
    return isinstance(value, str) and not value.strip(" ,")


def split(value: Any) -> tuple[Any, ...]:
    """The parts of a list with commas."""
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return tuple(value)


def backend_url(url: str) -> str:
    """A backend's address."""
    parts = urlsplit(url)
    try:
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or any(map(str.isspace, url)):
        raise ValueError("each backend must be an address such as http://localhost:11434")
    return url.rstrip("/")


def passed_route(value: Any) -> Any:
    """A method and a path of Ollama's, apart."""
    if not isinstance(value, str):
        return value
    method, _, path = value.partition(" ")
    root, *segments = path.split("/")
    usable = method in _METHODS and not root and segments[:1] in _FAMILIES and len(segments) > 1
    if not usable or not all(map(_SEGMENT.fullmatch, segments)):
        raise ValueError("each route must be written as a method and a path of Ollama's, such as POST /v1/systemone")
    return method, path


def network(value: Any) -> Any:
    """An address, or a network of them."""
    return ip_network(value, strict=False) if isinstance(value, str) else value


def host_header(value: str) -> str:
    """A name for the `Host` header."""
    if not _HOST.fullmatch(value):
        raise ValueError("must be a host name such as localhost:11434")
    return value


def allowed_origin(value: str) -> str:
    """An origin as browsers send it."""
    scheme, separator, host = value.rstrip("/").partition("://")
    if value != "*" and not (scheme and separator and host):
        raise ValueError("each origin must be written as browsers send it, such as http://localhost:3000")
    return value.rstrip("/")


def usable_key(value: str) -> str:
    """A key that can travel in a header."""
    if not value:
        raise ValueError("must not be empty: set it to a long random text")
    if not (value.isascii() and value.isprintable()) or any(mark in value for mark in " ,"):
        raise ValueError("a key may hold printable ASCII characters only, without spaces and commas")
    return value


def named_keys(pairs: tuple[str, ...]) -> dict[str, SecretStr]:
    """`name:key` pairs."""
    keys = dict(_named_key(pair) for pair in pairs)
    if len(keys) < len(pairs) or len({key.get_secret_value() for key in keys.values()}) < len(keys):
        raise ValueError("each name and each key may stand there once only")
    return keys


def _named_key(pair: str) -> tuple[str, SecretStr]:
    name, separator, key = pair.partition(":")
    if not separator or not name.strip():
        raise ValueError("must be written name:key,name:key")
    if name.strip() in RESERVED_NAMES:
        raise ValueError(f"the names {' and '.join(RESERVED_NAMES)} are taken")
    return name.strip(), SecretStr(usable_key(key.strip()))


def rate_or_none(value: Any) -> Any:
    """A rate such as `60/minute`; `off` is no limit."""
    if not isinstance(value, str):
        return value
    return None if value.strip().lower() in _NO_LIMIT else Rate.parse(value)


def count_or_none(value: Any) -> Any:
    """A whole number; `off` is no limit."""
    return None if isinstance(value, str) and value.strip().lower() in _NO_LIMIT else value


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
        ValueError: PostgreSQL's own tools have parameters that its driver here would stumble over.
    """
    try:
        read: URL = make_url(url)
    except (ArgumentError, ValueError):
        return False
    if read.get_backend_name() == "sqlite":
        return not read.host
    if unknown := sorted(set(read.query) - _PARAMETERS):
        raise ValueError(f"asyncpg knows no parameter {unknown[0]!r}")
    return True


def redis_url(value: str) -> str:
    """The address of Redis or Valkey.

    Raises:
        ValueError: of another kind.
    """
    try:
        usable = value.startswith(("redis://", "rediss://", "unix://")) and urlsplit(value).port != 0
    except ValueError:
        usable = False
    if value and not usable:
        raise ValueError("must be written redis://host:6379/0, rediss://… or unix:///path/to/socket")
    return value


def price(text: str) -> tuple[str, Price]:
    """`llama3.2:3b=0.10/0.40` as a pattern of models and its price.

    Raises:
        ValueError: written in another way.
    """
    pattern, _, amounts = text.rpartition("=")
    prompt, separator, completion = amounts.partition("/")
    try:
        read = [Decimal(amount) for amount in (prompt, completion)]
    except InvalidOperation:
        read = []
    if not pattern.strip() or not separator or not all(map(_may_be_price, read)) or not read:
        raise ValueError("must be written model=prompt/completion, each a price of a million tokens")
    return pattern.strip(), Price(*read)


def _may_be_price(amount: Decimal) -> bool:
    return amount.is_finite() and 0 <= amount <= _DEAREST
