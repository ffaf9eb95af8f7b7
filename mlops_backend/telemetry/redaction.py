"""Secrets in what is about to be logged: taken out of every value, whoever logs it.

Those that the settings hold are known by heart; others are known by how they look. It is the last guard: whoever
writes an event keeps secrets out of it in the first place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, unquote

from pydantic import SecretStr
from structlog.typing import EventDict

from mlops_backend.config import Settings

MASK: Final = "***"
# A shorter one is found in every other word.
SHORTEST: Final = 4
_MOST_KNOWN: Final = 10_000
_LONGEST: Final = 65_536
_DEEPEST: Final = 6
_MOST_ITEMS: Final = 200
# What each of them cannot be without, which is looked for first: most texts have none of it.
_LOOKS: Final = tuple(
    (marks, re.compile(pattern), instead)
    for marks, pattern, instead in (
        (("mlb_",), r"mlb_[\w-]+", MASK),
        (("sk-", "sk_", "pk_", "hf_"), r"(?<![A-Za-z0-9])(?:g?sk[-_]|pk_|hf_)[^\s\"',;]{8,}", MASK),
        (("eyJ",), r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*", MASK),
        ((" ", "\t", "\n"), r"((?i:bearer|basic)\s+)[^\s\"',;]+", rf"\1{MASK}"),
        (("@",), r"(://)[^\s/?#]*@", rf"\1{MASK}@"),
        (
            (":", "="),
            r"((?i:api[-_]?key|token|password|passwd|pwd|secret)[\"']?\s*[:=]\s*[\"']?)[^\s\"',;&)}\]]+",
            rf"\1{MASK}",
        ),
    )
)
_SOME_LOOK: Final = re.compile(r"[\s@:=]|mlb_|sk[-_]|pk_|hf_|eyJ")
_NAMES: Final = frozenset(
    {
        *("password", "passwd", "pwd", "secret", "api_key", "apikey", "x_api_key", "token", "access_token"),
        *("authorization", "proxy_authorization", "cookie", "set_cookie"),
    }
)
# What is made of nobody's words.
_OWN: Final = frozenset({"level", "timestamp"})
# Of the line of a request: what a client, or a backend, may have chosen. Models and people come again.
_CHOSEN: Final = ("request_id", "said")
_CHOSEN_AGAIN: Final = ("principal", "end_user", "model", "requested_model")


class _Known:
    """The secrets that are known by heart, the longest first."""

    secrets: tuple[str, ...] = ()


def know(secrets: Iterable[str]) -> None:
    """Take out these, and no others that were known before."""
    _Known.secrets = ()
    learn(secrets)


def learn(secrets: Iterable[str]) -> None:
    """Take out these too, in each way that they are written in."""
    found = {*_Known.secrets, *(form for secret in secrets for form in _forms(secret) if len(form) >= SHORTEST)}
    _Known.secrets = tuple(sorted(found, key=lambda secret: (-len(secret), secret))[:_MOST_KNOWN])
    _redacted_again.cache_clear()


def secrets_of(settings: Settings) -> Iterator[str]:
    """All that an operator has set and nobody is to see: keys, and passwords in addresses."""
    for name in type(settings).model_fields:
        yield from _secrets_in(getattr(settings, name))


def redact(text: str) -> str:
    """A text without the secrets in it, cut where it is very long."""
    if len(text) > _LONGEST:
        text = _cut(text)
    for secret in _Known.secrets:
        if secret in text:
            text = text.replace(secret, MASK)
    if _SOME_LOOK.search(text) is None:
        return text
    for marks, look, instead in _LOOKS:
        if any(mark in text for mark in marks):
            text = look.sub(instead, text)
    return text


def redact_event(_: object, __: str, event: EventDict) -> EventDict:
    """What structlog calls before an event is written: each of its values without secrets, however deep it lies."""
    for name, value in event.items():
        if name not in _OWN:
            event[name] = MASK if _is_secret(name) else _cleaned(value, _DEEPEST)
    return event


def redact_request(line: dict[str, Any]) -> None:
    """Do the same to the line of a request, of which most is made of nobody's words."""
    for name in _CHOSEN:
        if name in line:
            line[name] = redact(line[name])
    for name in _CHOSEN_AGAIN:
        if name in line:
            line[name] = _redacted_again(line[name])


@lru_cache(maxsize=4096)
def _redacted_again(text: str) -> str:
    return redact(text)


def _cut(text: str) -> str:
    """As much as is looked at, and no half of a word: it may be half of a secret."""
    text = text[:_LONGEST]
    end = max(text.rfind(mark) for mark in " \n\t")
    return text[: end + 1] + "…"


def _cleaned(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, (bytes, bytearray)):
        return redact(bytes(value[: 2 * _LONGEST]).decode("utf-8", "backslashreplace"))
    if depth and isinstance(value, Mapping):
        items = list(value.items())[:_MOST_ITEMS]
        return {redact(str(name)): MASK if _is_secret(str(name)) else _cleaned(each, depth - 1) for name, each in items}
    if depth and isinstance(value, (list, tuple, set, frozenset)):
        return [_cleaned(each, depth - 1) for each in list(value)[:_MOST_ITEMS]]
    return redact(_shown(value))


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:  # whatever it is, it has no say in whether a line is written
        return f"<{type(value).__name__}, which cannot be shown: {type(error).__name__}>"


def _is_secret(name: str) -> bool:
    return name.lower().replace("-", "_") in _NAMES


def _secrets_in(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
        yield from _credentials(value.get_secret_value())
    elif isinstance(value, str):
        yield from _credentials(value)
    elif isinstance(value, Mapping):
        yield from (secret for each in value.values() for secret in _secrets_in(each))
    elif isinstance(value, (tuple, list)):
        yield from (secret for each in value for secret in _secrets_in(each))
    elif is_dataclass(value):
        yield from (secret for each in fields(value) for secret in _secrets_in(getattr(value, each.name)))


def _credentials(url: str) -> Iterator[str]:
    """The password in an address; where there is a name alone, that is one."""
    _, separator, rest = url.partition("://")
    before, at, _ = rest.partition("?")[0].rpartition("@")
    if separator and at:
        name, colon, password = before.partition(":")
        yield password if colon else name


def _forms(secret: str) -> set[str]:
    """A secret as it stands in a header, in an address, in JSON and in what Python shows of a value."""
    forms = {secret, unquote(secret)}
    return {form for each in forms for form in (each, quote(each, safe=""), json.dumps(each)[1:-1], repr(each)[1:-1])}
