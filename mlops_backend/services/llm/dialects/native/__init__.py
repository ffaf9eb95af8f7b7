"""OpenAI's routes carried over Ollama's own: requests there, answers back, as Ollama's `/v1` does it itself."""

from __future__ import annotations

from mlops_backend.services.llm.dialects.native.errors import refusal, refused_in_openais_words
from mlops_backend.services.llm.dialects.native.requests import ROUTES, Carried
from mlops_backend.services.llm.dialects.native.stream import EventTranslator

__all__ = [
    "ROUTES",
    "Carried",
    "EventTranslator",
    "refusal",
    "refused_in_openais_words",
]
