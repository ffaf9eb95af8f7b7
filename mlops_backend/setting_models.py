"""How what is said of models is written in settings: other names for them, and what is pinned whatever clients ask."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from mlops_backend import setting_values as values_of

KeepAlive = int | str

_MOST_MODELS: Final = 16
_HEAVIEST: Final = 1_000_000
_LONGEST_CONTEXT: Final = 100_000_000
_DURATION: Final = re.compile(r"-?(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_WHOLE: Final = re.compile(r"-?\d{1,9}")
_A_NAME: Final = "must be written name=model, name=model|model to fall through, or name=model*9|model*1 for shares"
_SHARES: Final = "either each model of a name has a share, or none has"
_A_CONTEXT: Final = f"must be written model=tokens, a whole number from 1 to {_LONGEST_CONTEXT}"
_A_DURATION: Final = "must be written model=duration, such as 30m or 24h, or in seconds; -1 is for ever"
_PATTERN: Final = frozenset("*?[")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Alias:
    """A public name, and the models that it stands for.

    Attributes:
        name: what clients say; a pattern as the shell's, where one of `*?[` stands in it.
        models: those that are asked, best first; one that cannot be had makes room for the next.
        shares: how much of what is asked goes to each first; none where it all goes to the first.
    """

    name: str
    models: tuple[str, ...]
    shares: tuple[int, ...] = ()

    @property
    def is_pattern(self) -> bool:
        """Whether it stands for more than one name."""
        return not _PATTERN.isdisjoint(self.name)


def aliases(value: Any) -> Any:
    """`gpt-4o=qwen3:8b,smart=qwen3:32b|llama3.3,next=llama3.2*9|llama3.3*1,claude-*=qwen3:8b`.

    Raises:
        ValueError: written in another way, or one that would never count.
    """
    if not isinstance(value, str):
        return value
    read = tuple(map(_alias, values_of.split(value)))
    values_of.each_may_count([alias.name.lower() for alias in read])
    return read


def contexts(value: Any) -> Any:
    """`llama3.2=8192,qwen3*=16384`: patterns of models, and the length of the context that each is loaded with.

    Raises:
        ValueError: written in another way, or one that would never count.
    """
    return _by_model(value, _context)


def keep_alives(value: Any) -> Any:
    """`llama3.2=24h,*=10m`: patterns of models, and how long each stays loaded behind its last request.

    Raises:
        ValueError: written in another way, or one that would never count.
    """
    return _by_model(value, _keep_alive)


def _alias(text: str) -> Alias:
    name, separator, rest = (part.strip() for part in text.partition("="))
    if not name or not separator:
        raise ValueError(_A_NAME)
    read = [_target(part.strip()) for part in rest.split("|")]
    if len(read) > _MOST_MODELS:
        raise ValueError(f"a name may stand for {_MOST_MODELS} models at most")
    models = values_of.once_each((model for model, _ in read), "model of a name")
    shares = tuple(share for _, share in read if share is not None)
    if shares and len(shares) < len(models):
        raise ValueError(_SHARES)
    return Alias(values_of.model_name(name), models, shares)


def _target(text: str) -> tuple[str, int | None]:
    model, separator, share = (part.strip() for part in text.partition("*"))
    if not model or not _PATTERN.isdisjoint(model) or (separator and not _is_share(share)):
        raise ValueError(_A_NAME)
    return values_of.model_name(model), int(share) if separator else None


def _is_share(text: str) -> bool:
    return bool(_WHOLE.fullmatch(text)) and 1 <= int(text) <= _HEAVIEST


def _by_model(value: Any, read: Callable[[str], T]) -> Any:
    if not isinstance(value, str):
        return value
    pairs = [_pair(text, read) for text in values_of.split(value)]
    values_of.each_may_count([pattern.lower() for pattern, _ in pairs])
    return tuple(pairs)


def _pair(text: str, read: Callable[[str], T]) -> tuple[str, T]:
    pattern, _, told = (part.strip() for part in text.rpartition("="))
    return values_of.model_name(pattern), read(told if pattern else "")


def _context(text: str) -> int:
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= _LONGEST_CONTEXT:
        raise ValueError(_A_CONTEXT)
    return int(text)


def _keep_alive(text: str) -> KeepAlive:
    if _WHOLE.fullmatch(text):
        return int(text)
    if not _DURATION.fullmatch(text):
        raise ValueError(_A_DURATION)
    return text
