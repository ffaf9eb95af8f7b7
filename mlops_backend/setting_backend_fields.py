"""The fields of a backend in `BACKENDS_FILE`: each function reads one value, or says in a sentence what it wants."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from mlops_backend import setting_addresses
from mlops_backend import setting_values as values_of

Kind = Literal["ollama", "openai"]
# Says what the variable of a name holds, empty where there is none; a `ValueError` for one that is not to be read.
Secret = Callable[[str], str]

_KINDS: Final = ("ollama", "openai")
_MOST: Final = 1_000_000
_MOST_TAGS: Final = 32
_MOST_MODELS: Final = 10_000
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_A_WORD: Final = "must be a short word: letters, digits, and the marks . _ - behind the first, 64 at most"
_A_VARIABLE: Final = "must be the name of an environment variable, and not a key"
_A_TABLE: Final = 'must be a table such as {"llava*" = ["completion", "vision"]}, with words out of '
_KEY_INSIDE: Final = "a key does not belong into this file: name the variable that holds it as api_key_env"
_LIKE_A_KEY: Final = re.compile(r"(?i)key|token|password|secret")


def read_field(name: str, value: Any, secret: Secret) -> dict[str, Any]:
    """A field as a member of `BackendSetting`.

    Args:
        name: as it stands in the file.
        value: as TOML has it.
        secret: gives the keys.

    Raises:
        ValueError: there is no such field, or its value cannot be used; it says what is wanted, and no value.
    """
    if name == "api_key_env":
        return {"key": _key(value, secret)}
    if name not in _FIELDS:
        known = ", ".join((*_FIELDS, "api_key_env"))
        raise ValueError(_KEY_INSIDE if _LIKE_A_KEY.search(name) else f"is unknown; known are {known}")
    member, read = _FIELDS[name]
    return {member: read(value)}


def _text(value: Any, otherwise: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(otherwise)
    return value


def _list(value: Any, of_what: str, most: int) -> list[str]:
    if not isinstance(value, list) or len(value) > most or not all(isinstance(item, str) and item for item in value):
        raise ValueError(f"must be a list of {of_what}, {most} at most")
    return value


def _word(value: Any) -> str:
    if not _WORD.fullmatch(_text(value, _A_WORD)):
        raise ValueError(_A_WORD)
    return str(value)


def _url(value: Any) -> str:
    url = setting_addresses.backend_url(_text(value, "must be an address such as http://localhost:11434"))
    if "@" in urlsplit(url).netloc:
        raise ValueError(_KEY_INSIDE)
    return url


def _kind(value: Any) -> str:
    if value not in _KINDS:
        raise ValueError('must be "ollama" or "openai"')
    return str(value)


def _key(value: Any, secret: Secret) -> str:
    """The key itself; what stands in the place of its name is not repeated, for it may be a key."""
    if not _VARIABLE.fullmatch(_text(value, _A_VARIABLE)):
        raise ValueError(_A_VARIABLE)
    key = secret(value)
    if not key:
        raise ValueError("there is no such variable, or it is empty")
    if not (key.isascii() and key.isprintable()):
        raise ValueError("a backend's key may hold printable ASCII characters only")
    return key


def _host(value: Any) -> str:
    return setting_addresses.host_header(_text(value, "must be a host name such as localhost:11434"))


def _most(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST:
        raise ValueError(f"must be a whole number from 1 to {_MOST}; left out, there is no bound")
    return value


def _weight(value: Any) -> float:
    # `nan` is not larger than anything.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MOST:
        raise ValueError(f"must be a number larger than 0, {_MOST} at most")
    return float(value)


def _models(value: Any) -> tuple[str, ...]:
    names = _list(value, "names of models", _MOST_MODELS)
    return values_of.once_each(map(values_of.model_name, names), "model of a server")


def _capabilities(value: Any) -> tuple[tuple[str, frozenset[str]], ...]:
    known = ", ".join(sorted(values_of.CAPABILITIES))
    if not isinstance(value, dict) or not value or "" in value:
        raise ValueError(_A_TABLE + known)
    told = {pattern: _list(words, "capabilities", len(values_of.CAPABILITIES)) for pattern, words in value.items()}
    if not all(words and values_of.CAPABILITIES.issuperset(words) for words in told.values()):
        raise ValueError(_A_TABLE + known)
    values_of.each_may_count([pattern.lower() for pattern in told])
    return tuple((pattern, frozenset(words)) for pattern, words in told.items())


def _counts(value: Any) -> bool:
    if value != "estimated":
        raise ValueError('must be "estimated", for a server whose numbers of tokens are not to be believed')
    return False


def _tags(value: Any) -> tuple[str, ...]:
    tags = _list(value, "short words", _MOST_TAGS)
    if not all(map(_WORD.fullmatch, tags)):
        raise ValueError(f"each of them {_A_WORD}")
    return values_of.once_each(tags, "tag")


_FIELDS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "name": ("name", _word),
    "url": ("url", _url),
    "kind": ("kind", _kind),
    "host_header": ("host_header", _host),
    "max_concurrency": ("most", _most),
    "weight": ("weight", _weight),
    "models": ("models", _models),
    "capabilities": ("capabilities", _capabilities),
    "counts": ("counts", _counts),
    "tags": ("tags", _tags),
}
