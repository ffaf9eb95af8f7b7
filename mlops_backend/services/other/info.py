"""What this process is: the small example of a service that is not inference."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.metadata import version
from time import monotonic
from typing import Any, Final

LIBRARIES: Final = ("quart", "hypercorn", "httpx", "aiohttp", "pydantic")


class InfoService:
    """Uptime, versions and feature switches.

    Args:
        version: the service's own.
        features: switch -> whether it is on.
        clock: seconds that only grow.
    """

    def __init__(self, version: str, features: Mapping[str, bool], clock: Callable[[], float] = monotonic) -> None:
        self.version = version
        self.features = dict(features)
        self._clock = clock
        self._started = clock()
        self._libraries = _versions()

    def describe(self) -> dict[str, Any]:
        """Everything there is to say; times in UTC, uptime in seconds."""
        uptime = self._clock() - self._started
        return {
            "version": self.version,
            "python": platform.python_version(),
            "libraries": self._libraries,
            "uptime_seconds": round(uptime, 3),
            "started_at": (datetime.now(UTC) - timedelta(seconds=uptime)).isoformat(timespec="seconds"),
            "features": self.features,
        }


@cache
def _versions() -> dict[str, str]:
    return {library: version(library) for library in LIBRARIES}
