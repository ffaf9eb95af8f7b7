"""What an administrator, or a file, changes of the backends, in one process or in several workers of one service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from mlops_backend.services.llm.backends.pool import BackendPool
from mlops_backend.shared import Shared

BEGIN: Final = "backends.begin"
DRAIN: Final = "backends.drain"
GOOD: Final = "backends.good"
REREAD: Final = "backends.reread"


class BackendNews(Protocol):
    """Where changes go, and come from."""

    async def begin(self) -> str:
        """Take over what the others know; the last file that one of them could use, empty where there is none."""

    def good(self, text: str) -> None:
        """The file could be used."""

    async def drain(self, name: str, *, drained: bool) -> None:
        """Drain a backend, or end that, wherever it is asked; raises an `AppError` where that is not certain."""

    def on_reread(self, function: Callable[[], None]) -> None:
        """Call `function` when somebody says that the file is to be read."""


class OwnNews:
    """Those of one process.

    Args:
        pool: its backends.
    """

    def __init__(self, pool: BackendPool) -> None:
        self._pool = pool

    async def begin(self) -> str:
        """Nobody else knows anything."""
        return ""

    def good(self, text: str) -> None:
        """Nobody has to be told."""

    async def drain(self, name: str, *, drained: bool) -> None:
        """It is this process that asks it."""
        self._pool.drain(name, drained=drained)

    def on_reread(self, function: Callable[[], None]) -> None:
        """Nobody says so but the process itself."""


class WorkersNews:
    """Those of one of several workers: its parent remembers them, and passes them on in one order.

    Args:
        pool: the backends of this worker.
        shared: leads to the parent.
    """

    def __init__(self, pool: BackendPool, shared: Shared) -> None:
        self._pool = pool
        self._shared = shared
        self._heard: set[str] | None = set()
        shared.hears.on(DRAIN, lambda _, change: self._drained(*change), tuple[str, bool])

    async def begin(self) -> str:
        """What the parent remembers: a worker that takes another's place goes on where that one was."""
        drained, text = await self._shared.parent.ask(BEGIN)
        heard, self._heard = self._heard or set(), None
        for name in drained:
            if name not in heard:  # what was heard meanwhile is as new, or newer
                self._pool.drain(name, drained=True)
        return str(text)

    def good(self, text: str) -> None:
        """Who is started later can use it too, whatever becomes of the file."""
        self._shared.parent.tell(GOOD, text)

    async def drain(self, name: str, *, drained: bool) -> None:
        """Come back when all workers hold to it, this one among them."""
        await self._shared.parent.ask(DRAIN, (name, drained))

    def on_reread(self, function: Callable[[], None]) -> None:
        """The parent gets the signal."""
        self._shared.hears.on(REREAD, lambda _, __: function())

    def _drained(self, name: str, drained: bool) -> None:
        if self._heard is not None:
            self._heard.add(name)
        self._pool.drain(name, drained=drained)
