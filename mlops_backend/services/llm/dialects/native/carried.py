"""A request as it goes over Ollama's own route, and what makes the client's answer of Ollama's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mlops_backend.services.llm.dialects.native.lines import LineTranslator

Whole = Callable[[Mapping[str, Any]], dict[str, Any]]
# How an Ollama refuses that takes no words for how long to think; on its `/v1` it overlooks them.
NO_EFFORTS: Final = "chatrequest.think of type"
# How one refuses to think; on its `/v1/messages` it does not.
NO_THINKING: Final = "does not support thinking"


@dataclass(frozen=True, slots=True)
class Carried:
    """One request.

    Attributes:
        path: Ollama's route.
        body: what it is sent.
        whole: makes the answer of Ollama's; given the object, it gives another one.
        translator: makes the events, where the answer is streamed.
        unthinking: refusals, in small letters, behind which it is asked once more without `think`.
    """

    path: str
    body: dict[str, Any]
    whole: Whole
    translator: Callable[[], LineTranslator] | None = None
    unthinking: tuple[str, ...] = ()


def without_nothing(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are not `None`."""
    return {name: value for name, value in values.items() if value is not None}
