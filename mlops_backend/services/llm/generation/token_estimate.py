"""An honest guess at how many tokens a request's text has, where no backend tells.

Images and sound are left out: what they cost depends on the model alone.
"""

from __future__ import annotations

from typing import Any, Final

from mlops_backend.aside import rest
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.dialects import CHARACTERS_PER_TOKEN, LargeBody, tokens_in, value_of

_TOKENS_PER_TURN: Final = 4
_NOT_TEXT: Final = frozenset(
    {
        *("images", "data", "image_url", "input_audio", "file_data", "video_url", "audio_url"),
        *("encrypted_content", "signature"),
        *("model", "role", "type", "id", "tool_use_id", "options", "stream_options", "format"),
    }
)
# More than this many are not looked at: it is a guess, and made on the event loop.
_MOST_VALUES: Final = 50_000


def estimate_prompt_tokens(body: bytes | LargeBody) -> int:
    """How many tokens the prompt of a request in any dialect may have; 0 for what is not JSON."""
    value = value_of(body)
    rest()
    return estimated(value)


def estimated(value: Any) -> int:
    """The same of a body's value."""
    if not isinstance(value, dict):
        return 0
    turns = value.get("messages") if isinstance(value.get("messages"), list) else ()
    return tokens_in(_characters(value)) + _TOKENS_PER_TURN * len(turns or ())


def prompt_tokens(asked: Asked) -> int:
    """The same for what a drop-in route is asked; one that was made already stands."""
    if asked.prompt is not None:
        return asked.prompt
    return estimate_prompt_tokens(asked.content) if isinstance(asked.content, bytes | LargeBody) else 0


def _characters(body: dict[str, Any]) -> int:
    """The texts within a body; names count where they are the caller's own, as in a tool's schema."""
    characters, left = 0, [value for name, value in body.items() if name not in _NOT_TEXT]
    for _ in range(_MOST_VALUES):
        if not left:
            break
        value = left.pop()
        kind = type(value)
        if kind is str:
            characters += 0 if value.startswith("data:") else len(value)
        elif kind is list and value and type(value[0]) is int:
            characters += CHARACTERS_PER_TOKEN * len(value)  # tokens that the caller has made already
        elif kind is list:
            left += value[:_MOST_VALUES]
        elif kind is dict:
            characters += sum(map(len, value))
            left += [inner for name, inner in value.items() if name not in _NOT_TEXT]
    return characters
