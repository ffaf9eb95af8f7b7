"""Routes that a server lacks: a body of megabytes is not sent to its 404 each time."""

from __future__ import annotations

from time import monotonic
from typing import Final

MEMORY: Final = 600.0


class MissingRoutes:
    """What one server was found to lack; forgotten after ten minutes, and when it is not what it was."""

    def __init__(self) -> None:
        self._noted: dict[str, tuple[object, float]] = {}

    def note(self, path: str, server: object) -> None:
        """The route is not there; `server` is what is known of the server: its version, or where it stands."""
        self._noted[path] = server, monotonic() + MEMORY

    def has(self, path: str, server: object) -> bool:
        """Whether the route was found missing lately, in the server as it is now."""
        known, until = self._noted.get(path, (None, 0.0))
        return known == server and until > monotonic()
