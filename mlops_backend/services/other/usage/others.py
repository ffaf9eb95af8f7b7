"""The ledgers of several workers of one service, which are to be read as one."""

from __future__ import annotations

from typing import Final

from mlops_backend.errors import Unavailable
from mlops_backend.services.other.usage.ledger import Ledger
from mlops_backend.shared import Shared

WRITE: Final = "ledger.write"
# Longer than a database takes that answers.
WITHIN: Final = 2.0


class OtherLedgers:
    """Between this worker's ledger and the others'.

    Args:
        ledger: of this worker.
        shared: leads to the parent.
    """

    def __init__(self, ledger: Ledger, shared: Shared) -> None:
        self._ledger = ledger
        self._parent = shared.parent
        shared.hears.on(WRITE, self._write)

    async def wrote(self) -> None:
        """Have the other workers write what they know, and come back when they have, or cannot."""
        try:
            await self._parent.ask(WRITE)
        except Unavailable:
            return

    async def _write(self, _: object, __: None) -> None:
        await self._ledger.write_now(WITHIN)
