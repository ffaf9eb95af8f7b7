"""Instructions that a client gives amid a conversation, where the templates of some models take none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mlops_backend.services.llm.dialects.native.of_messages import MESSAGES_PATH
from mlops_backend.services.llm.dialects.openai import RESPONSES_PATH

COUNT_PATH: Final = f"{MESSAGES_PATH}/count_tokens"
_ROLES: Final = ("system", "developer")
# Where a conversation stands in a body, and what stands before it.
_PLACES: Final[Mapping[str, tuple[str, str]]] = {
    MESSAGES_PATH: ("messages", "system"),
    COUNT_PATH: ("messages", "system"),
    RESPONSES_PATH: ("input", "instructions"),
}


def instructs_later(path: str, body: Mapping[str, Any]) -> bool:
    """Whether a body of OpenAI's or Anthropic's, sent to `path`, has instructions behind its conversation's beginning.

    On other routes there is nothing to be done about them, and so they have none.
    """
    turns_at, before = _PLACES.get(path, ("", ""))
    turns = body.get(turns_at)
    if not isinstance(turns, list):
        return False
    later = turns if body.get(before) else turns[1:]
    return any(isinstance(turn, Mapping) and turn.get("role") in _ROLES for turn in later)
