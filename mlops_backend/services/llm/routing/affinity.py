"""Which requests belong together: those of a conversation, and those whose prompts begin alike.

The key is a hash of the model and of the conversation's id, where the request has one; else of the beginning of its
prompt: the system prompt and all messages up to the first of a user. The next turn of a chat sends them again, so that
it has the same key, and finds the backend that has read them. Of each text only its first and last characters count,
and its length; of a bare prompt, which may grow at its end from turn to turn, its first ones alone. A chat that grows
past what is read of a body may change its key then, once.

A key holds nothing of the prompt, but who guesses a prompt can find out whether it is the one. So it stays inside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final

from mlops_backend.errors import InvalidJSON
from mlops_backend.services.llm.dialects import LargeBody, Member, folded, last_of, members, text_of
from mlops_backend.services.llm.model_names import canonical

Body = Sequence[Member] | Mapping[str, Any] | LargeBody | bytes
Look = Callable[[str], Any]

# So much of a body is read.
_READ: Final = 64 * 1024
# Characters at each end of a text, and at the beginning of one that grows.
_ENDS: Final = 1024
_BEGINNING: Final = 512
# Fields that are looked at in a body of which a part is read.
_MOST_FIELDS: Final = 100
# Messages until the first of a user, members of a list within them, and values altogether.
_MOST_MESSAGES: Final = 8
_MOST_MEMBERS: Final = 16
_MOST_VALUES: Final = 256
# A system prompt, by the fields of each dialect.
_SYSTEM: Final = ("system", "instructions")
# What follows it, as messages or as one text.
_LISTS: Final = ("messages", "input")
_BARE: Final = ("prompt", "input")
_IDS: Final = ("conversation", "prompt_cache_key")
# What holds a message's texts and images; the rest of it (marks for a cache, ids) may change from turn to turn.
_HOLDERS: Final = ("content", "text", "image_url", "url", "source", "data", "images")
_GAP: Final = re.compile(r"[ \t\n\r:,]*")
_DECODER: Final = json.JSONDecoder()


def affinity(body: Body, conversation: str = "") -> str:
    """The key of a request, equal for those that are to go to the same backend; empty where nothing tells.

    It reads a bounded part of the body and raises nothing. For embeddings nothing is cached: they want no key.

    Args:
        body: the members of its object, its value, or its bytes. The members of a large body have no long values
            (`shortened`): where the key is empty, its bytes may have one.
        conversation: the id of the stored conversation that it belongs to.
    """
    look = _look(body)
    model = look("model")
    texts = _identity(look, conversation) or _beginning(look)
    if not texts:
        return ""
    key = blake2b(digest_size=8)
    for text in (canonical(model[:_ENDS]) if isinstance(model, str) else "", *texts):
        part = text.encode("utf-8", "surrogatepass")
        key.update(b"%d:" % len(part) + part)
    return key.hexdigest()


def _identity(look: Look, conversation: str) -> list[str]:
    """The conversation's id, if there is one: ours, or what a client of OpenAI's API calls it."""
    for found in (conversation, *map(look, _IDS)):
        value = found.get("id") if isinstance(found, Mapping) else found
        if isinstance(value, str) and value:
            return ["id", _ends(value)]
    return []


def _look(body: Body) -> Look:
    """What gives a field's value, `None` where there is none."""
    if isinstance(body, LargeBody):
        return _look(body.value)
    if isinstance(body, Mapping):
        return body.get
    if not isinstance(body, bytes):
        return lambda name: last_of(body, name)
    return _read(body)


def _read(body: bytes) -> Look:
    if len(body) > _READ:
        return _begun(text_of(body[:_READ])).get
    try:
        found = members(text_of(body)) or ()
    except InvalidJSON:
        found = ()
    return lambda name: last_of(found, name)


def _begun(text: str) -> dict[str, Any]:
    """What can be read of an object whose end is cut off: whole members, and of the one that is cut its beginning."""
    found: dict[str, Any] = {}
    with suppress(ValueError, RecursionError, IndexError):
        at = _behind_gap(text, _behind_gap(text, 0) + 1) if text.lstrip()[:1] == "{" else len(text)
        for _ in range(_MOST_FIELDS):
            name, at = _DECODER.raw_decode(text, at)
            at = _behind_gap(text, at)
            found[folded(str(name))], at = _value(text, at)
            at = _behind_gap(text, at)
    return found


def _value(text: str, at: int) -> tuple[Any, int]:
    """A value and where it ends; of one that is cut off what there is."""
    try:
        return _DECODER.raw_decode(text, at)
    except ValueError:
        begun: Any = None
        if text[at] == "[":
            begun = list(_elements(text, at + 1))
        elif text[at] == '"':
            begun = text[at : at + _ENDS]
        return begun, len(text)


def _elements(text: str, at: int) -> Iterator[Any]:
    """The first elements of a list that is cut off; of one that is cut its beginning."""
    for _ in range(_MOST_MESSAGES):
        at = _behind_gap(text, at)
        try:
            element, at = _DECODER.raw_decode(text, at)
        except ValueError:
            yield text[at : at + _ENDS]
            return
        yield element


def _behind_gap(text: str, at: int) -> int:
    found = _GAP.match(text, at)
    assert found is not None  # noqa: S101 - it matches nothing as well
    return found.end()


def _beginning(look: Look) -> list[str]:
    """The texts of a prompt's beginning; none where there is nothing behind the system prompt."""
    said = [_ends(text) for name in _LISTS for text in _texts(_first(look(name)))]
    said += [text[:_BEGINNING] for name in _BARE if isinstance(text := look(name), str) and text]
    return [_ends(text) for name in _SYSTEM for text in _texts(look(name))] + said if said else []


def _first(messages: Any) -> list[Any]:
    """The messages up to the first of a user."""
    first: list[Any] = []
    for message in messages[:_MOST_MESSAGES] if isinstance(messages, list) else ():
        first.append(message)
        if isinstance(message, Mapping) and message.get("role") == "user":
            break
    return first


def _texts(value: Any) -> Iterator[str]:
    """The texts within a value, in order; images are texts too."""
    left = [value]
    for _ in range(_MOST_VALUES):
        if not left:
            return
        inner = left.pop()
        if isinstance(inner, str):
            if inner:
                yield inner
        elif isinstance(inner, list):
            left += reversed(inner[:_MOST_MEMBERS])
        elif isinstance(inner, Mapping):
            left += (inner[name] for name in reversed(_HOLDERS) if name in inner)


def _ends(text: str) -> str:
    """A long text's first and last characters, and how many there are."""
    return text if len(text) <= 2 * _ENDS else f"{text[:_ENDS]}{len(text)}{text[-_ENDS:]}"
