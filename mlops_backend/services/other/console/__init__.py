"""What the pages of the console need and nobody else: their files, and the sessions of browsers."""

from __future__ import annotations

from mlops_backend.services.other.console.files import File, Files
from mlops_backend.services.other.console.sessions import ConsoleSessions, Session
from mlops_backend.services.other.console.wiring import build_console

__all__ = [
    "ConsoleSessions",
    "File",
    "Files",
    "Session",
    "build_console",
]
