"""A request whose answer is to be no longer than its key's limits have room for: its own bytes, with that maximum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from mlops_backend.aside import aside
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.dialects import LargeBody, Member, folded, shortened
from mlops_backend.services.llm.generation.edits import Edit, edited, of_options, options_of, with_options
from mlops_backend.services.llm.generation.token_maximum import MAXIMA, number_in

_OLLAMAS: Final = "num_predict"
_CHAT: Final = "/v1/chat/completions"
# Ollama and older servers know no other name in chats; OpenAI's reasoning models refuse it, and are asked by the newer.
_NEWER: Final = "max_completion_tokens"
_CONTEXT: Final = " context "  # a word by itself: it may be a part of a model's name too
_OWN: Final[Mapping[str, str]] = {
    "/api/generate": _OLLAMAS,
    "/api/chat": _OLLAMAS,
    _CHAT: "max_tokens",
    "/v1/completions": "max_tokens",
    "/v1/responses": "max_output_tokens",
    "/v1/messages": "max_tokens",
}


async def bounded(asked: Asked, tokens: int) -> Asked:
    """The same request, with no answer of more than so many tokens; as it is, where its route has no maximum.

    Only the maximum's own characters are others, or are added.
    """
    own, content = _OWN.get(asked.path), asked.content
    if own is None:
        return asked
    if isinstance(content, LargeBody):
        return replace(asked, content=await LargeBody.of(_with_options(content.value, tokens)))
    if not isinstance(content, bytes):
        return asked
    return await aside(len(content), _lowered, asked, content, own, tokens)


def _lowered(asked: Asked, content: bytes, own: str, tokens: int) -> Asked:
    short = shortened(content)
    found = short.members
    if not found:
        return asked
    if own == _OLLAMAS:

        def put(inner: Sequence[Member], first: int, is_last: bool) -> Iterator[Edit]:
            return _of_object(inner, first, _OLLAMAS if is_last else "", tokens)

        edits = of_options(short.text, found, put, f'{{"{_OLLAMAS}":{tokens}}}')
        return replace(asked, content=short.restored(edited(short.text, edits)))
    bodies = {
        name: short.restored(edited(short.text, _of_object(found, found[0].start, name, tokens)))
        for name in (own, *((_NEWER,) if asked.path == _CHAT else ()))
    }
    return replace(asked, content=bodies[own], instead=tuple(_instead(content, found, bodies)))


def _instead(content: bytes, found: Sequence[Member], bodies: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """What a server is asked that refuses the maximum, where the client named none: by a word of its refusal.

    One that has no room for it behind the prompt ends there by itself.
    """
    if not any(folded(member.name) in MAXIMA and number_in(member.value) is not None for member in found):
        yield _CONTEXT, content
    if _NEWER in bodies and not any(
        member.name == "max_tokens" and number_in(member.value) is not None for member in found
    ):
        yield _NEWER, bodies[_NEWER]


def _of_object(found: Sequence[Member], first: int, own: str, tokens: int) -> Iterator[Edit]:
    """Lower every maximum that an object names, and add `own` at `first` if that is not among them."""
    named = [member for member in found if folded(member.name) in MAXIMA]
    for member in named:
        if (least := _least(member, own, tokens)) is not None:
            yield member.value_start, member.end, str(least)
    if own and not any(member.name == own for member in named):
        yield first, first, f'"{own}":{tokens}' + ("," if found else "")


def _least(member: Member, own: str, tokens: int) -> int | None:
    """What is to stand in a maximum's place; a text too becomes a number, for some servers read no end in it."""
    number = number_in(member.value)
    if number is None:
        return tokens if member.name == own else None
    if not 1 <= number <= tokens:  # of less than one Ollama makes 0, which is no end
        return tokens
    return int(number) if isinstance(member.value, str) else None


def _with_options(body: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """The same for a body that is written while it is sent."""
    told = options_of(body)
    own = number_in(told.get(_OLLAMAS))
    least = int(own) if own is not None and 1 <= own <= tokens else tokens
    kept = {name: value for name, value in told.items() if folded(name) not in MAXIMA}
    return with_options(body, {**kept, _OLLAMAS: least})
