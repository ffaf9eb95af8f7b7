"""mlops_backend: keys, limits, records and visibility in front of Ollama."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_backend.postponed import postpone

if TYPE_CHECKING:
    from mlops_backend.app import create_app as create_app

__version__ = "0.1.0"
__all__ = ["__version__", "create_app"]

postpone()


def __getattr__(name: str) -> Any:
    """Import the application only when it is asked for: the version alone must cost nothing."""
    if name == "create_app":
        from mlops_backend.app import create_app

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
