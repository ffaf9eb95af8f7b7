"""Refusals: what one server did not take of a request, so that an ornament costs no answer, and what its models lack.

Servers of the OpenAI API refuse fields that they do not know, each others. What the client's answer does not depend on
is left out, or said otherwise, when the server names it, or when it names no field; then the server is asked again.
What it took without is remembered for a while.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from time import monotonic
from typing import Any, Final

from mlops_backend.services.llm.dialects.openai import with_instructions_first

MEMORY: Final = 600.0
_MOST_REMEMBERED: Final = 1000
_UNCLEAR: Final = (400, 422)
# What llama.cpp answers where a model's template raises.
_FAILED: Final = 500
# What servers say whose own route of messages knows two roles: vLLM before 0.23, mlx-vlm.
_TWO_ROLES: Final = "should be 'user' or 'assistant'"
# An ornament and the fields that it goes by; the last one is not remembered, for it depends on the prompt.
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "usage": ("stream_options", "include_usage"),
    "no thinking": ("chat_template_kwargs", "enable_thinking"),
    "sampling": (
        "top_k",
        "min_p",
        "typical_p",
        "repeat_penalty",
        "repetition_penalty",
        "repeat_last_n",
        "n_keep",
    ),
    "thoughts": ("reasoning_content", "reasoning"),
    "later instructions": ("system message must", "roles must alternate"),
    "older name": ("use 'max_completion_tokens'",),
    "maximum": ("max_tokens", "max_completion_tokens", "context length", "maximum context"),
}
# Left out when the server does not say what it refuses.
_FIRST: Final = ("usage", "no thinking", "thoughts")
_VAGUE: Final = ("unexpected", "unknown", "unrecognized", "extra", "not permitted", "support", "invalid", "allowed")
_CAPABILITIES: Final[Mapping[str, tuple[str, ...]]] = {
    "vision": ("not a multimodal model", "image input", "images are not supported", "not support image"),
    "tools": ("tool choice requires", "not support tools", "not support tool", "tools param requires"),
    "insert": ("suffix is not",),
    "thinking": ("not support thinking", "not support reasoning"),
}

Content = Mapping[str, Any]


class Refusals:
    """What is remembered of one server."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, str], float] = {}

    def taken(self, content: Content) -> Content:
        """The request without what the server refused lately."""
        known = [name for name in _FIELDS if self._knows("", name)] if self._until else []
        return without(content, known) if known else content

    def lighter(self, content: Content, status: int, words: str) -> tuple[str, ...]:
        """The ornaments to leave out before the server is asked again; none when its refusal is the answer."""
        low = words.lower()
        if status not in _UNCLEAR and not (status == _FAILED and _is_of_its_template(low)):
            return ()
        there = [name for name in _FIELDS if _has(content, name)]
        named = tuple(name for name in there if any(field in low for field in _FIELDS[name]))
        if "older name" in named:  # the maximum has another one: nothing else is wrong with it
            named = ("older name",)
        elif len(named) > 1:  # what else is named may be all that is wrong: a key's budget holds by the maximum
            named = tuple(name for name in named if name != "maximum")
        vague = not low or any(word in low for word in _VAGUE)
        return named or tuple(name for name in there if vague and name in _FIRST)

    def remember(self, ornaments: Iterable[str]) -> None:
        """The server took a request without them."""
        for name in ornaments:
            if name != "maximum":
                self._note("", name)

    def learn(self, model: str, words: str) -> None:
        """Take from the server's refusal what a model lacks."""
        low = words.lower()
        for capability, sentences in _CAPABILITIES.items():
            if any(sentence in low for sentence in sentences):
                self._note(model, capability)

    def lacking(self, model: str) -> frozenset[str]:
        """What a model lacked lately, in Ollama's words."""
        return frozenset(capability for capability in _CAPABILITIES if self._knows(model, capability))

    def avoid(self, path: str, model: str) -> None:
        """A route of the server's own refused instructions behind the first turn, and another one took them."""
        self._note(model, path)

    def avoids(self, path: str, model: str) -> bool:
        """Whether that was so lately."""
        return self._knows(model, path)

    def _note(self, model: str, what: str) -> None:
        if len(self._until) >= _MOST_REMEMBERED:
            del self._until[next(iter(self._until))]
        self._until[model, what] = monotonic() + MEMORY

    def _knows(self, model: str, what: str) -> bool:
        return self._until.get((model, what), 0.0) > monotonic()


def refuses_instructions(status: int, words: str) -> bool:
    """Whether a server's refusal is of instructions behind the first turn: by its template, or by its route's check."""
    low = words.lower()
    return status in (*_UNCLEAR, _FAILED) and (_is_of_its_template(low) or _TWO_ROLES in low)


def _is_of_its_template(words: str) -> bool:
    return any(sentence in words for sentence in _FIELDS["later instructions"])


def _has(content: Content, ornament: str) -> bool:
    if ornament == "thoughts":
        return any("reasoning" in turn for turn in content.get("messages") or ())
    if ornament == "later instructions":
        return any(turn["role"] == "system" for turn in (content.get("messages") or ())[1:])
    if ornament == "no thinking":
        return (content.get("chat_template_kwargs") or {}).get("enable_thinking") is False
    if ornament == "older name":
        return "max_tokens" in content
    return any(field in content for field in _FIELDS[ornament])


def without(content: Content, ornaments: Collection[str]) -> Content:
    """The request without these ornaments."""
    gone = {field for name in ornaments if _has(content, name) for field in _FIELDS[name]}
    kept = {name: value for name, value in content.items() if name not in gone}
    if "older name" in ornaments and "max_tokens" in kept:
        kept["max_completion_tokens"] = kept.pop("max_tokens")
    if "thoughts" in ornaments and "messages" in kept:
        kept["messages"] = [
            {name: value for name, value in turn.items() if name not in _FIELDS["thoughts"]}
            for turn in kept["messages"]
        ]
    if "later instructions" in ornaments and "messages" in kept:
        kept["messages"] = with_instructions_first(kept["messages"])
    return kept
