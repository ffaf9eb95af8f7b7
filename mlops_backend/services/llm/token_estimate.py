"""An honest guess at how many tokens a request's text has, where no backend tells.

Four characters a token is what English text comes to with the tokenizers of today's models; other languages and code
take more. Images and sound are left out: what they cost depends on the model alone.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic_core import from_json

_CHARACTERS_PER_TOKEN: Final = 4
_TOKENS_PER_TURN: Final = 4
_NOT_TEXT: Final = frozenset(
    {"images", "data", "image_url", "input_audio", "model", "role", "type", "id", "tool_use_id", "options", "format"}
)
_DEEPEST: Final = 50


def estimate_prompt_tokens(body: bytes) -> int:
    """How many tokens the prompt of a request in any dialect may have; 0 for what is not JSON."""
    try:
        value = from_json(body)
    except ValueError:
        return 0
    if not isinstance(value, dict):
        return 0
    turns = value.get("messages") if isinstance(value.get("messages"), list) else ()
    characters = _characters(value, 0)
    return -(-characters // _CHARACTERS_PER_TOKEN) + _TOKENS_PER_TURN * len(turns or ())


def _characters(value: Any, depth: int) -> int:
    """The texts within a value; names count where they are the caller's own, as in a tool's schema."""
    if depth > _DEEPEST:
        return 0
    match value:
        case str():
            return len(value)
        case list():
            return sum(_characters(item, depth + 1) for item in value)
        case dict():
            names = 0 if depth < 1 else sum(map(len, value))
            return names + sum(_characters(inner, depth + 1) for name, inner in value.items() if name not in _NOT_TEXT)
    return 0
