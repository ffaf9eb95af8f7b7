"""What happens now, told as it changes: one look a second for all who listen, and none while nobody does."""

from __future__ import annotations

from mlops_backend.services.other.live.failures import Failures, FailuresOfWorkers
from mlops_backend.services.other.live.live import Listener, Live
from mlops_backend.services.other.live.sources import Sources
from mlops_backend.services.other.live.wiring import build_live

__all__ = ["Failures", "FailuresOfWorkers", "Listener", "Live", "Sources", "build_live"]
