"""The backends that one request may be sent to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from mlops_backend.services.llm.backends.backend import Backend


@dataclass(slots=True)
class Candidates:
    """The backends to ask, best first; `complete` when no other one can have the model.

    `left` are those that were not asked yet. `late` are those that nothing was known of yet, or that were away and may
    have come back, for the first that needs them.
    """

    left: list[Backend]
    complete: bool = True
    late: Callable[[], Awaitable[Sequence[Backend]]] | None = None

    async def pass_over(self, backend: Backend) -> bool:
        """Leave out one that is of no use, which may be said twice; whether there is another one."""
        self.left = [other for other in self.left if other is not backend]
        if not self.left and self.late is not None:
            late, self.late = self.late, None
            self.left += await late()
        return bool(self.left)
