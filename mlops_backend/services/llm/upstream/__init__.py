"""The one HTTP client, and which headers pass it."""

from __future__ import annotations

from mlops_backend.services.llm.upstream.answers import Reply, UpstreamResponse, gathered
from mlops_backend.services.llm.upstream.client import Target, Upstream
from mlops_backend.services.llm.upstream.headers import Pairs, for_backend, for_client
from mlops_backend.services.llm.upstream.tap import Tap

__all__ = [
    "Pairs",
    "Reply",
    "Tap",
    "Target",
    "Upstream",
    "UpstreamResponse",
    "for_backend",
    "for_client",
    "gathered",
]
