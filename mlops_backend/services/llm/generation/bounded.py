"""A request whose answer is to be no longer than its key's limits have room for: its own bytes, with that maximum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from mlops_backend.aside import aside
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.dialects import LargeBody, Member, folded, members, shortened
from mlops_backend.services.llm.generation.token_maximum import MAXIMA, number_in

_Edit = tuple[int, int, str]
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
        return replace(asked, content=short.restored(_edited(short.text, _of_options(short.text, found, tokens))))
    bodies = {
        name: short.restored(_edited(short.text, _of_object(found, found[0].start, name, tokens)))
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


def _of_options(text: str, found: Sequence[Member], tokens: int) -> Iterator[_Edit]:
    """Ollama's maximum is one of its `options`; of several such objects it takes the members of all."""
    options = [member for member in found if folded(member.name) == "options"]
    if not options:
        yield found[0].start, found[0].start, f'"options":{{"{_OLLAMAS}":{tokens}}},'
    for member in options:
        is_last = member is options[-1]
        if isinstance(member.value, dict):
            inner = members(text, member.value_start) or ()
            yield from _of_object(inner, member.value_start + 1, _OLLAMAS if is_last else "", tokens)
        elif is_last and member.value is None:
            yield member.value_start, member.end, f'{{"{_OLLAMAS}":{tokens}}}'


def _of_object(found: Sequence[Member], first: int, own: str, tokens: int) -> Iterator[_Edit]:
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


def _edited(text: str, edits: Iterator[_Edit]) -> str:
    for start, end, put in sorted(edits, reverse=True):
        text = text[:start] + put + text[end:]
    return text


def _with_options(body: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """The same for a body that is written while it is sent."""
    told: dict[str, Any] = {}
    for name, value in body.items():
        if folded(name) == "options" and isinstance(value, Mapping):
            told |= value
    own = number_in(told.get(_OLLAMAS))
    least = int(own) if own is not None and 1 <= own <= tokens else tokens
    kept = {name: value for name, value in told.items() if folded(name) not in MAXIMA}
    others = {name: value for name, value in body.items() if folded(name) != "options"}
    return {**others, "options": {**kept, _OLLAMAS: least}}
