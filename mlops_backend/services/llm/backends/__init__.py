"""One upstream server of each kind, what is known of it, and which one to ask."""

from __future__ import annotations

from mlops_backend.services.llm.backends.backend import (
    AbsentOllama,
    Answer,
    Backend,
    Body,
    OllamaBackend,
    Operation,
)
from mlops_backend.services.llm.backends.catalogue import Catalogue, openai_model
from mlops_backend.services.llm.backends.openai import MODELS_PATH, OpenAIBackend
from mlops_backend.services.llm.backends.openai_address import API, Places
from mlops_backend.services.llm.backends.openai_drop_in import body_of, not_here, whole
from mlops_backend.services.llm.backends.pool import BackendPool, Candidates, Probe
from mlops_backend.services.llm.backends.statuses import raise_for_status

__all__ = [
    "API",
    "MODELS_PATH",
    "AbsentOllama",
    "Answer",
    "Backend",
    "BackendPool",
    "Body",
    "Candidates",
    "Catalogue",
    "OllamaBackend",
    "OpenAIBackend",
    "Operation",
    "Places",
    "Probe",
    "body_of",
    "not_here",
    "openai_model",
    "raise_for_status",
    "whole",
]
