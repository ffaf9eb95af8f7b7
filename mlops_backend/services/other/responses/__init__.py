"""Responses of OpenAI's API that live here: stored beside the answer, continued, read and deleted by their key."""

from __future__ import annotations

from mlops_backend.services.other.responses.service import Begun, StoredResponses
from mlops_backend.services.other.responses.wiring import build_responses

__all__ = ["Begun", "StoredResponses", "build_responses"]
