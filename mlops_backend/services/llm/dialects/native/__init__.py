"""Routes of OpenAI and Anthropic carried over Ollama's own: requests there, answers back, as its `/v1` does it."""

from __future__ import annotations

from mlops_backend.services.llm.dialects.native.carried import Carried
from mlops_backend.services.llm.dialects.native.errors import refusal, reworded
from mlops_backend.services.llm.dialects.native.instructions import COUNT_PATH, instructs_later
from mlops_backend.services.llm.dialects.native.joined import Joined
from mlops_backend.services.llm.dialects.native.lines import LineTranslator
from mlops_backend.services.llm.dialects.native.of_messages import MESSAGES_PATH
from mlops_backend.services.llm.dialects.native.requests import ROUTES

__all__ = [
    "COUNT_PATH",
    "MESSAGES_PATH",
    "ROUTES",
    "Carried",
    "Joined",
    "LineTranslator",
    "instructs_later",
    "refusal",
    "reworded",
]
