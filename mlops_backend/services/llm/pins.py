"""What the operator pins of a model, whatever clients ask: the length of its context, and how long it stays loaded.

An Ollama loads a model anew for another `num_ctx`, and whoever was served waits meanwhile; a `keep_alive` of one
request counts for all: with 0 it is unloaded, for everybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlops_backend.services.llm.model_names import ByModel
from mlops_backend.setting_models import KeepAlive


@dataclass(frozen=True, slots=True)
class Pin:
    """What is pinned of one model; `None`: nothing."""

    num_ctx: int | None = None
    keep_alive: KeepAlive | None = None


class Pins:
    """The pins of all models.

    Args:
        contexts: `PIN_NUM_CTX`.
        keep_alives: `PIN_KEEP_ALIVE`.
    """

    def __init__(
        self, contexts: Sequence[tuple[str, int]] = (), keep_alives: Sequence[tuple[str, KeepAlive]] = ()
    ) -> None:
        self._contexts = ByModel(contexts)
        self._keep_alives = ByModel(keep_alives)

    def __bool__(self) -> bool:
        """Whether anything is pinned of any model."""
        return bool(self._contexts or self._keep_alives)

    def of(self, model: str) -> Pin | None:
        """What is pinned of a model; `None`: nothing."""
        num_ctx, keep_alive = self._contexts.of(model), self._keep_alives.of(model)
        return None if num_ctx is None and keep_alive is None else Pin(num_ctx, keep_alive)
