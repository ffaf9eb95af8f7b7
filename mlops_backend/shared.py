"""What a worker has of the service that it is a part of; a service of one process has none of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class Parent(Protocol):
    """The process that started this one."""

    async def ask(self, name: str, payload: Any = None) -> Any:
        """Ask it, and wait for its answer."""

    def tell(self, name: str, payload: Any = None) -> None:
        """Tell it."""


class Hears(Protocol):
    """Takes what the parent asks and tells."""

    def on(self, name: str, function: Callable[[Any, Any], Any], kind: Any = Any) -> None:
        """Have `function` handle what goes by that name."""


class Bus(Protocol):
    """Leads to every other process, of this machine or another one; what is lost on the way is lost."""

    def on(self, name: str, function: Callable[[Any, Any], Any], kind: Any = Any) -> None:
        """Have `function` handle what goes by that name; to what is asked it answers at once."""

    def tell(self, name: str, payload: Any = None) -> None:
        """Tell all others."""

    async def ask(self, name: str, payload: Any = None) -> list[Any] | None:
        """What the others answer within half a second; `None` where they cannot be asked."""

    async def open(self) -> None:
        """Listen."""

    async def aclose(self) -> None:
        """Listen no more."""


@dataclass(frozen=True, slots=True)
class Shared:
    """A worker's place among the others.

    Args:
        index: its number, from 0; one that takes another's place has the same.
        parent: may be asked once the application is opened.
        hears: takes handlers while the application is built.
        engine: the socket of the embedded engine and its key, where the parent may start one.
    """

    index: int
    parent: Parent
    hears: Hears
    engine: tuple[str, str] | None = None

    @property
    def is_first(self) -> bool:
        """Whether it is this worker that does what one of them must do for all."""
        return self.index == 0
