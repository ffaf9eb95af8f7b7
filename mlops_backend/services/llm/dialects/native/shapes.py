"""Shapes: what stands around the text of each event of a stream, in OpenAI's two older APIs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

# The text of a string in JSON, as it is spelt.
_TEXT: Final = r'(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+'
_START: Final = rf'\{{"model":"{_TEXT}","created_at":"[^"\\]*+",'
_MESSAGE: Final = rf'{_START}"message":\{{"role":"assistant","content":"'
_END: Final = r'"\},"done":false\}'


def _plain(pattern: str) -> Plain:
    return re.compile(pattern.encode()).fullmatch


SAID: Final = _plain(rf"{_MESSAGE}({_TEXT}){_END}")
THOUGHT: Final = _plain(rf'{_MESSAGE}","thinking":"({_TEXT}){_END}')
COMPLETED: Final = _plain(rf'{_START}"response":"({_TEXT})","done":false\}}')

Plain = Callable[[bytes], re.Match[bytes] | None]


@dataclass(frozen=True, slots=True)
class Shape:
    """One API's events.

    Attributes:
        kind: what each says that it is.
        prefix: how the ids begin.
        plain: what finds a line of Ollama's that brings a text and nothing else, its group the text as it is spelt;
            with what an event says of such a text.
        is_chat: whether it is a chat's.
    """

    kind: str
    prefix: str
    plain: tuple[tuple[Plain, Callable[[str], Mapping[str, str] | str]], ...]
    is_chat: bool

    def chunk(self, head: Mapping[str, Any], choices: list[Any]) -> dict[str, Any]:
        """One event's object, with its members in the order in which Ollama has them."""
        start = {"id": head["id"], "object": self.kind, "created": head["created"]}
        rest = {"model": head["model"], "system_fingerprint": FINGERPRINT}
        return {**start, **rest, "choices": choices} if self.is_chat else {**start, "choices": choices, **rest}

    def choice(self, said: Mapping[str, Any] | str, reason: str | None, scores: Any = None) -> dict[str, Any]:
        """The one choice of an event: a chat's delta, or a completion's text."""
        told = {"index": 0, "delta": said} if self.is_chat else {"text": said, "index": 0}
        return {**told, "finish_reason": reason, **({"logprobs": {"content": scores}} if scores else {})}


FINGERPRINT: Final = "fp_ollama"
CHAT: Final = Shape(
    "chat.completion.chunk",
    "chatcmpl-",
    ((SAID, lambda text: {"content": text}), (THOUGHT, lambda text: {"reasoning": text})),
    is_chat=True,
)
COMPLETION: Final = Shape("text_completion", "cmpl-", ((COMPLETED, lambda text: text),), is_chat=False)
