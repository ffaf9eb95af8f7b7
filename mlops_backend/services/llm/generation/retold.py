"""A request in the words that are sent: with the model that its name stands for, and with what is pinned of that."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from mlops_backend.aside import aside
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.dialects import LargeBody, Member, folded, shortened
from mlops_backend.services.llm.dialects.native import ROUTES
from mlops_backend.services.llm.generation.edits import Edit, edited, of_member, of_options, options_of, with_options
from mlops_backend.services.llm.pins import Pin

# Ollama's routes that load a model.
_LOADING: Final = frozenset({"/api/generate", "/api/chat", "/api/embed", "/api/embeddings"})
_CONTEXT: Final = "num_ctx"
_KEPT: Final = "keep_alive"


async def retold(asked: Asked, model: str, pin: Pin | None) -> Asked:
    """The same request for `model`, whatever name it was asked by.

    Only the characters of the model's name are others, and those of what is pinned; where a route has no words for
    that, it stands beside the body.

    Args:
        asked: what the client asked.
        model: what is to be asked of a backend.
        pin: what the operator pinned of it.
    """
    if pin is not None and asked.path in ROUTES:
        asked, pin = replace(asked, pin=pin), None
    pin = pin if asked.path in _LOADING else None
    content, name = asked.content, None if model == asked.model else model
    if name is None and pin is None:
        return asked
    if isinstance(content, bytes | LargeBody):
        content = await _sent(asked, content, name, pin)
    instead = tuple([(word, await _sent(asked, other, name, pin)) for word, other in asked.instead])
    return replace(asked, model=model, content=content, instead=instead)


async def _sent(asked: Asked, content: bytes | LargeBody, name: str | None, pin: Pin | None) -> bytes | LargeBody:
    if isinstance(content, LargeBody):
        return await LargeBody.of(_value(content.value, asked.task.names, name, pin))
    return await aside(len(content), _content, asked, content, name, pin)


def _content(asked: Asked, content: bytes, name: str | None, pin: Pin | None) -> bytes:
    if asked.model_at is not None:
        start, end = asked.model_at
        return content if name is None else content[:start] + name.encode() + content[end:]
    short = shortened(content)
    found = short.members
    if not found:
        return content
    return short.restored(
        edited(short.text, [*_named(found, asked.task.names, name), *_pinned(short.text, found, pin)])
    )


def _named(found: Sequence[Member], names: Sequence[str], name: str | None) -> Iterator[Edit]:
    """Every member that names a model: whichever a backend reads, it reads this one."""
    if name is not None:
        for member in found:
            if folded(member.name) in names and isinstance(member.value, str):
                yield member.value_start, member.end, _json(name)


def _pinned(text: str, found: Sequence[Member], pin: Pin | None) -> Iterator[Edit]:
    if pin is None:
        return
    if pin.num_ctx is not None:
        length = str(pin.num_ctx)

        def put(inner: Sequence[Member], first: int, is_last: bool) -> Iterator[Edit]:
            return of_member(inner, first, _CONTEXT, length, add=is_last)

        yield from of_options(text, found, put, f'{{"{_CONTEXT}":{length}}}')
    if pin.keep_alive is not None:
        yield from of_member(found, found[0].start, _KEPT, _json(pin.keep_alive))


def _value(body: Mapping[str, Any], names: Sequence[str], name: str | None, pin: Pin | None) -> dict[str, Any]:
    """The same for a body that is written while it is sent."""
    told = dict(body)
    if name is not None:
        told |= {each: name for each, value in body.items() if folded(each) in names and isinstance(value, str)}
    if pin is not None and pin.num_ctx is not None:
        kept = {each: value for each, value in options_of(told).items() if folded(each) != _CONTEXT}
        told = with_options(told, {**kept, _CONTEXT: pin.num_ctx})
    if pin is not None and pin.keep_alive is not None:
        told = {**{each: value for each, value in told.items() if folded(each) != _KEPT}, _KEPT: pin.keep_alive}
    return told


def _json(value: str | int) -> str:
    return json.dumps(value, ensure_ascii=False)
