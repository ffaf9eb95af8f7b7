"""How often something is asked for again: a part of what is asked, so that a failing backend is not asked ever more."""

from __future__ import annotations

from typing import Final

# Each request may be followed by so much of a retry; a quiet service, and one that begins, has a few.
_SHARE: Final = 0.2
_AT_FIRST: Final = 10.0
_MOST: Final = 100.0


class RetryBudget:
    """Retries that are left; Finagle's budgets count in the same way."""

    def __init__(self) -> None:
        self._left = _AT_FIRST

    def asked(self) -> None:
        """Something is asked for the first time."""
        self._left = min(_MOST, self._left + _SHARE)

    def take(self) -> bool:
        """Whether it may be asked for again."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
