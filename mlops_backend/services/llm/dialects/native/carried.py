"""A request as it goes over Ollama's own route, and what makes the client's answer of Ollama's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mlops_backend.services.llm.dialects.native.lines import LineTranslator

Whole = Callable[[Mapping[str, Any]], dict[str, Any]]
# How an Ollama refuses that takes no words for how long to think; on its `/v1` it overlooks them.
NO_EFFORTS: Final = "chatrequest.think of type"
# How one refuses to think; on its `/v1/messages` it does not, nor here on `/v1/responses`.
NO_THINKING: Final = "does not support thinking"
# What servers of OpenAI's API name that take no words for it.
NO_REASONING: Final = ("reasoning_effort", "chat_template_kwargs", "enable_thinking", "not support reasoning")


@dataclass(frozen=True, slots=True)
class Carried:
    """One request.

    Attributes:
        path: Ollama's route.
        body: what it is sent.
        whole: makes the answer of Ollama's; given the object, it gives another one.
        translator: makes the events, where the answer is streamed.
        unthinking: refusals, in small letters, behind which it is asked once more without `think`.
        beyond: what the client asked for and Ollama has no words for, in OpenAI's; left out before an Ollama is asked.
    """

    path: str
    body: dict[str, Any]
    whole: Whole
    translator: Callable[[], LineTranslator] | None = None
    unthinking: tuple[str, ...] = ()
    beyond: Mapping[str, Any] = field(default_factory=dict)


def without_nothing(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are not `None`."""
    return {name: value for name, value in values.items() if value is not None}
