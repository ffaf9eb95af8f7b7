"""Changes of a JSON body at the places where they are meant: all other bytes stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from mlops_backend.services.llm.dialects import Member, folded, members

# From where to where in the text, and what is to stand there.
Edit = tuple[int, int, str]
# Changes the members of an object: its members, where its first one begins, and whether it is the last of its name.
Put = Callable[[Sequence[Member], int, bool], Iterable[Edit]]


def edited(text: str, edits: Iterable[Edit]) -> str:
    """The text with the edits made."""
    for start, end, put in sorted(edits, reverse=True):
        text = text[:start] + put + text[end:]
    return text


def of_member(found: Sequence[Member], first: int, name: str, value: str, *, add: bool = True) -> Iterator[Edit]:
    """Have a member say `value`, in whatever case its name is written, however often it stands there.

    Args:
        found: the object's members.
        first: where a member can be put before all others.
        name: the member's.
        value: JSON.
        add: whether it is added where it does not stand there.
    """
    named = [member for member in found if folded(member.name) == name]
    for member in named:
        yield member.value_start, member.end, value
    if add and not any(member.name == name for member in named):
        yield first, first, f'"{name}":{value}' + ("," if found else "")


def of_options(text: str, found: Sequence[Member], put: Put, otherwise: str) -> Iterator[Edit]:
    """Change Ollama's `options`; of several such objects it takes the members of all.

    Args:
        text: the body's.
        found: its members, one at least.
        put: changes one such object.
        otherwise: JSON of what is put where there is none.
    """
    options = [member for member in found if folded(member.name) == "options"]
    if not options:
        yield found[0].start, found[0].start, f'"options":{otherwise},'
    for member in options:
        is_last = member is options[-1]
        if isinstance(member.value, dict):
            yield from put(members(text, member.value_start) or (), member.value_start + 1, is_last)
        elif is_last and member.value is None:
            yield member.value_start, member.end, otherwise


def options_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The members of all `options` of a body that is a value."""
    told: dict[str, Any] = {}
    for name, value in body.items():
        if folded(name) == "options" and isinstance(value, Mapping):
            told |= value
    return told


def with_options(body: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Such a body with these `options` in place of its own."""
    return {**{name: value for name, value in body.items() if folded(name) != "options"}, "options": dict(options)}
