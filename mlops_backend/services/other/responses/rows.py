"""Responses as the database has them, and as input of those that continue them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mlops_backend.aside import rest
from mlops_backend.errors import NotFound
from mlops_backend.services.llm.dialects import bytes_of, dumped, text_of

_PREFIX: Final = "resp_"
_BYTES: Final = 24
_LONGEST: Final = 64
# How the ids of items begin, by their type.
_PREFIXES: Final = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "function_call_output": "fco_",
    "custom_tool_call": "ctc_",
    "custom_tool_call_output": "ctco_",
    "tool_search_call": "tsc_",
    "tool_search_output": "tso_",
}
_TEXTS: Final = {"assistant": "output_text"}


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """One response; times are milliseconds since the epoch.

    `input` is the JSON of the items of its own request, without brackets, `response` that of the response.
    """

    id: str
    key_id: str
    previous_id: str | None
    created_at: int
    expires_at: int
    bytes: int
    input: str
    response: str


def new_id() -> str:
    """An id that nobody can guess and no other response has."""
    return _PREFIX + secrets.token_hex(_BYTES)


def is_id(text: str) -> bool:
    """Whether it may be an id: what is not, such as a NUL, need not be looked for."""
    return text.startswith(_PREFIX) and len(text) <= _LONGEST and text[len(_PREFIX) :].isalnum() and text.isascii()


def no_such_response() -> NotFound:
    """The same words whether it never was, is gone, or is another key's."""
    return NotFound("There is no such response.")


def said(rows: Iterable[tuple[str, str]]) -> bytes:
    """All that was asked and answered, as JSON of items without brackets.

    Args:
        rows: `input` and `response` of each response, the oldest first.
    """
    parts: list[bytes] = []
    for asked, response in rows:
        output = json.loads(response).get("output")
        parts.append(bytes_of(asked))
        parts += [_given_back(item) for item in output if isinstance(item, dict)] if isinstance(output, list) else ()
        rest()
    return b",".join(filter(None, parts))


def input_items(response_id: str, asked: str) -> list[dict[str, Any]]:
    """The items of a request as OpenAI lists them: each with its type and an id, texts as parts."""
    given = json.loads(f"[{asked}]")
    return [_listed(response_id, place, item) for place, item in enumerate(given) if isinstance(item, dict)]


def size_of(text: str) -> int:
    """Bytes of a text."""
    return len(text) if text.isascii() else len(bytes_of(text))


def as_text(items: bytes) -> str:
    """Items as the database keeps them."""
    return text_of(items)


def _given_back(item: Mapping[str, Any]) -> bytes:
    """An item of an answer as one of a request: what has no value is left out."""
    return dumped({name: value for name, value in item.items() if value is not None})


def _listed(response_id: str, place: int, item: dict[str, Any]) -> dict[str, Any]:
    kind = item.get("type") or "message"
    made = f"{_PREFIXES.get(str(kind), 'item_')}{response_id.removeprefix(_PREFIX)}_{place}"
    given = item.get("id")
    listed = {**item, "type": kind, "id": given if given and isinstance(given, str) else made}
    content = item.get("content")
    if kind == "message" and isinstance(content, str):
        listed["content"] = [{"type": _TEXTS.get(str(item.get("role")), "input_text"), "text": content}]
    return {"status": "completed", **listed} if kind in _PREFIXES else listed
