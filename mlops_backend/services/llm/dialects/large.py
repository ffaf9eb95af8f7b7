"""JSON of megabytes, written while it is sent: it is never whole in memory, and no step of it is felt by others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final, Self

from pydantic_core import to_json

from mlops_backend.aside import LARGE
from mlops_backend.services.llm.dialects.compact import dumped

# What one step writes: characters of a text, members of a list or an object.
_CHARACTERS: Final = 256 * 1024
_MEMBERS: Final = 64
_MOST: Final = 4096
# What lies deeper is written at once.
_LEVELS: Final = 8
# Behind so many bytes others have a turn.
_A_STEP: Final = 512 * 1024
_A_TURN: Final = 0.001


class LargeBody:
    """A body whose text is made anew each time that it is iterated over, compact and in UTF-8.

    Its length has to go before it: a backend in Go notices a client that leaves only once it has read the body's end.
    """

    __slots__ = ("_size", "value")

    def __init__(self, value: Mapping[str, Any], size: int) -> None:
        self.value = value
        self._size = size

    @classmethod
    async def of(cls, value: Mapping[str, Any]) -> Self:
        """One that writes `value`, which holds what JSON can tell and must not change."""
        size = done = 0
        for piece in _joined(value):
            size += len(piece)
            if size - done >= _A_STEP:
                done = size
                await asyncio.sleep(_A_TURN)
        return cls(value, size)

    def __len__(self) -> int:
        """How many bytes it has."""
        return self._size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Its bytes, in order."""
        for piece in _joined(self.value):
            yield piece
            await asyncio.sleep(0)


async def written(value: Mapping[str, Any], came: int) -> bytes | LargeBody:
    """A body that is made here, to be sent; a large one in pieces.

    Args:
        value: what is sent.
        came: how many bytes it was made of. Its messages may come from elsewhere, and count by themselves.

    Raises:
        InvalidJSON: it nests more deeply than this service writes.
    """
    return await LargeBody.of(value) if came > LARGE or _is_large(value.get("messages")) else dumped(value)


def _is_large(messages: object) -> bool:
    return isinstance(messages, list) and len(messages) > 1 and sum(map(_about, messages)) > LARGE


def _about(message: object) -> int:
    if not isinstance(message, dict):
        return 0
    texts = (message.get("content"), *(message.get("images") or ()))
    return sum(len(text) for text in texts if isinstance(text, str))


def _joined(value: object) -> Iterator[bytes]:
    """The pieces of a value's text, none of them small but the last."""
    parts: list[bytes] = []
    size = 0
    for part in _parts(value, _LEVELS):
        parts.append(part)
        size += len(part)
        if size >= _CHARACTERS:
            yield b"".join(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts)


def _parts(value: object, levels: int) -> Iterator[bytes]:
    if isinstance(value, str) and len(value) > _CHARACTERS:
        yield b'"'
        for start in range(0, len(value), _CHARACTERS):
            yield to_json(value[start : start + _CHARACTERS])[1:-1]
        yield b'"'
    elif isinstance(value, dict) and levels and len(value) <= _MOST:
        yield from _between(b"{", (_member(name, inner, levels - 1) for name, inner in value.items()), b"}")
    elif isinstance(value, list) and levels:
        yield from _between(b"[", _elements(value, levels - 1), b"]")
    else:
        yield to_json(value)


def _member(name: str, value: object, levels: int) -> Iterator[bytes]:
    yield to_json(name) + b":"
    yield from _parts(value, levels)


def _elements(values: list[Any], levels: int) -> Iterator[Iterator[bytes]]:
    """The elements one by one, or some together where there are many."""
    if len(values) <= _MEMBERS:
        yield from (_parts(value, levels) for value in values)
    else:
        for start in range(0, len(values), _MEMBERS):
            yield iter((to_json(values[start : start + _MEMBERS])[1:-1],))


def _between(first: bytes, members: Iterator[Iterator[bytes]], last: bytes) -> Iterator[bytes]:
    yield first
    for number, member in enumerate(members):
        if number:
            yield b","
        yield from member
    yield last
