"""The engine of our own, in a child process."""

from __future__ import annotations

from mlops_backend.services.llm.embedded.backend import EmbeddedBackend
from mlops_backend.services.llm.embedded.engine import EmbeddedEngine, Engine
from mlops_backend.services.llm.embedded.files import EngineUnavailable
from mlops_backend.services.llm.embedded.of_parent import EngineOfParent, EngineOfWorkers

__all__ = [
    "EmbeddedBackend",
    "EmbeddedEngine",
    "Engine",
    "EngineOfParent",
    "EngineOfWorkers",
    "EngineUnavailable",
]
