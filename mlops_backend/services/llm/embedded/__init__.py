"""The engine of our own, in a child process."""

from __future__ import annotations

from mlops_backend.services.llm.embedded.backend import EmbeddedBackend
from mlops_backend.services.llm.embedded.engine import EmbeddedEngine
from mlops_backend.services.llm.embedded.files import EngineUnavailable

__all__ = [
    "EmbeddedBackend",
    "EmbeddedEngine",
    "EngineUnavailable",
]
