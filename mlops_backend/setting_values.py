"""How single settings are written: each function reads one value, or says in a sentence what it wants."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar

from pydantic import SecretStr

from mlops_backend.days import zone
from mlops_backend.principal import Price, Rate

RESERVED_NAMES: Final = ("admin", "anonymous")

CAPABILITIES: Final = frozenset({"completion", "embedding", "insert", "thinking", "tools", "vision"})
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_FAMILIES: Final = (["api"], ["v1"])
_SEGMENT: Final = re.compile(r"(?!\.+$)[A-Za-z0-9._~-]+")
_NO_LIMIT: Final = ("off", "none")
_DEAREST: Final = Decimal(1_000_000)
# A request's headers have 16 KiB together.
_LONGEST_KEY: Final = 4096
_LONGEST_NAME: Final = 200
_SHORTEST_SECRET: Final = 16
_LONGEST_MODEL: Final = 512

Route = tuple[str, str]
T = TypeVar("T")


def is_blank(value: Any) -> bool:
    """Whether nothing was written but spaces and commas."""
    return isinstance(value, str) and not value.strip(" ,")


def split(value: Any) -> tuple[Any, ...]:
    """The parts of a list with commas."""
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return tuple(value)


def once_each(items: Iterable[T], what: str) -> tuple[T, ...]:
    """All of them.

    Raises:
        ValueError: one is there twice.
    """
    listed = tuple(items)
    if len(set(listed)) < len(listed):
        raise ValueError(f"each {what} may stand there once only")
    return listed


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


def usable_key(value: str) -> str:
    """A key that can travel in a header."""
    if not value:
        raise ValueError("must not be empty: set it to a long random text")
    if not (value.isascii() and value.isprintable()) or any(mark in value for mark in " ,"):
        raise ValueError("a key may hold printable ASCII characters only, without spaces and commas")
    if len(value) > _LONGEST_KEY:
        raise ValueError(f"a key may have {_LONGEST_KEY} characters at most: it travels in a header")
    return value


def model_name(value: str) -> str:
    """A name that a backend may have for a model."""
    strange = not value.isprintable() or any(mark in value for mark in " ,") or value.endswith((":", "/"))
    if strange or len(value) > _LONGEST_MODEL:
        raise ValueError("must be the name of one model, such as llama3.2 or llama3.2:3b")
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
    if not name.isprintable() or len(name) > _LONGEST_NAME:
        raise ValueError(f"a name may hold {_LONGEST_NAME} printable characters at most")
    if name.strip() in RESERVED_NAMES:
        raise ValueError(f"the names {' and '.join(RESERVED_NAMES)} are taken")
    return name.strip(), SecretStr(usable_key(key.strip()))


def long_secret(value: SecretStr) -> SecretStr:
    """A secret that nobody guesses, or none."""
    if 0 < len(value.get_secret_value()) < _SHORTEST_SECRET:
        raise ValueError(f"must have {_SHORTEST_SECRET} characters at the least, better more, and random ones")
    return value


def timezone(name: str) -> str:
    """The name of a time zone that is known here."""
    zone(name)
    return name


def capitals(value: Any) -> Any:
    """A word in capitals."""
    return value.upper() if isinstance(value, str) else value


def rate_or_none(value: Any) -> Any:
    """A rate such as `60/minute`; `off` is no limit."""
    if not isinstance(value, str):
        return value
    return None if value.strip().lower() in _NO_LIMIT else Rate.parse(value)


def count_or_none(value: Any) -> Any:
    """A whole number; `off` is no limit."""
    return None if isinstance(value, str) and value.strip().lower() in _NO_LIMIT else value


def prices(value: Any) -> Any:
    """Patterns of models and their prices; the first that fits a model counts.

    Raises:
        ValueError: one that is written in another way, or that would never count.
    """
    if not isinstance(value, str):
        return value
    listed = [price(text) for text in split(value)]
    each_may_count([pattern.lower() for pattern, _ in listed])
    return dict(listed)


def each_may_count(patterns: Sequence[str]) -> None:
    """See that none of some patterns, of which the first that fits counts, stands behind another that takes all.

    Raises:
        ValueError: one does, or stands there twice.
    """
    if len(set(patterns)) < len(patterns):
        raise ValueError("each model may stand there once only")
    if "*" in patterns[:-1]:
        raise ValueError("what stands behind * would never count: the first that fits is taken")


def capabilities(value: Any) -> Any:
    """`llava*=vision,qwen3=tools+thinking`: patterns of models and what they can do, in Ollama's words.

    Raises:
        ValueError: one that is written in another way, or that would never count.
    """
    if not isinstance(value, str):
        return value
    listed: dict[str, frozenset[str]] = {}
    patterns: list[str] = []
    for text in split(value):
        pattern, _, words = (part.strip() for part in text.partition("="))
        told = frozenset(words.split("+"))
        if not pattern or not told <= CAPABILITIES:
            known = ", ".join(sorted(CAPABILITIES))
            raise ValueError(f"must be written model=capability+capability, each one of {known}")
        listed[pattern] = told
        patterns.append(pattern.lower())
    each_may_count(patterns)
    return listed


def price(text: str) -> tuple[str, Price]:
    """`llama3.2:3b=0.10/0.40` as a pattern of models and its price.

    Raises:
        ValueError: written in another way.
    """
    pattern, _, amounts = text.rpartition("=")
    pattern = pattern.strip()
    prompt, separator, completion = amounts.partition("/")
    try:
        read = [Decimal(amount) for amount in (prompt, completion)]
    except InvalidOperation:
        read = []
    if not pattern or not separator or not all(map(_may_be_price, read)) or not read:
        raise ValueError("must be written model=prompt/completion, each a price of a million tokens")
    if not pattern.isprintable() or " " in pattern:
        raise ValueError("a model's name has no white space")
    return pattern, Price(*read)


def _may_be_price(amount: Decimal) -> bool:
    return amount.is_finite() and 0 <= amount <= _DEAREST
