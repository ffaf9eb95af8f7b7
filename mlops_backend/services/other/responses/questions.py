"""Questions: what a body of `/v1/responses` says of what is stored, and the same body with what came before in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mlops_backend.services.llm.dialects import Member, folded, last_of, shortened
from mlops_backend.services.llm.generation import edited

_PREVIOUS: Final = "previous_response_id"
_STORE: Final = "store"
_INPUT: Final = "input"
_KEPT_HERE: Final = f'"{_STORE}":false'


@dataclass(frozen=True, slots=True)
class Question:
    """What a body says.

    `store` is whether the response is to be stored, `previous_id` which one it continues, `items` the JSON of its own
    input's items, without brackets; `None` where that is no text and no list. `sent` is the body for a backend, which
    is not to keep what is kept here: the client's own bytes, but for a `store` that is true.
    """

    store: bool
    previous_id: str
    items: bytes | None
    sent: bytes


def read_question(content: bytes) -> Question | None:
    """Read a body; `None` where it is no JSON object. Raises what `shortened` raises."""
    short = shortened(content)
    found = short.members
    if found is None:
        return None
    store, previous = last_of(found, _STORE), last_of(found, _PREVIOUS)
    given = [member for member in found if folded(member.name) == _INPUT and member.value is not None]
    items: bytes | None = None if given else b""
    if given and isinstance(given[-1].value, str | list):
        items = _items(short.restored(short.text[given[-1].value_start : given[-1].end]))
    wanted = [(member.value_start, member.end, "false") for member in found if _is_wanted(member)]
    sent = short.restored(edited(short.text, wanted)) if wanted else content
    return Question(store is not False, previous if isinstance(previous, str) else "", items, sent)


def continued(content: bytes, before: bytes, own: bytes) -> bytes:
    """A body that has all of its input in itself, and whose backend has nothing to look up.

    Args:
        content: it.
        before: items that come before its own, as JSON without brackets.
        own: its own, likewise.
    """
    short = shortened(content)
    kept = [
        _KEPT_HERE if _is_wanted(member) else short.text[member.start : member.end]
        for member in short.members or ()
        if folded(member.name) not in (_INPUT, _PREVIOUS)
    ]
    head = short.restored("{" + "".join(f"{each}," for each in kept))
    return b"".join((head, b'"input":[', b",".join(filter(None, (before, own))), b"]}"))


def _is_wanted(member: Member) -> bool:
    return folded(member.name) == _STORE and member.value is True


def _items(value: bytes) -> bytes:
    """The items of an input, a text being what a user says."""
    if value.startswith(b'"'):
        return b'{"role":"user","content":' + value + b"}" if value != b'""' else b""
    return value[1:-1].strip()
