"""One upstream server of each kind, what is known of it, and which one to ask."""

from __future__ import annotations

from mlops_backend.services.llm.backends.backend import Answer, Backend, Body, Operation
from mlops_backend.services.llm.backends.builder import BackendBuilder
from mlops_backend.services.llm.backends.candidates import Candidates
from mlops_backend.services.llm.backends.catalogue import Catalogue, openai_model
from mlops_backend.services.llm.backends.described import Described
from mlops_backend.services.llm.backends.desk import BackendDesk
from mlops_backend.services.llm.backends.look import Known, Probe
from mlops_backend.services.llm.backends.lookout import Lookout
from mlops_backend.services.llm.backends.named import NamedBackends
from mlops_backend.services.llm.backends.news import BackendNews, OwnNews, WorkersNews
from mlops_backend.services.llm.backends.ollama import AbsentOllama, OllamaBackend
from mlops_backend.services.llm.backends.openai import MODELS_PATH, OpenAIBackend
from mlops_backend.services.llm.backends.openai_address import API, Places
from mlops_backend.services.llm.backends.openai_drop_in import body_of, not_here, whole
from mlops_backend.services.llm.backends.pool import BackendPool
from mlops_backend.services.llm.backends.statuses import raise_for_status

__all__ = [
    "API",
    "MODELS_PATH",
    "AbsentOllama",
    "Answer",
    "Backend",
    "BackendBuilder",
    "BackendDesk",
    "BackendNews",
    "BackendPool",
    "Body",
    "Candidates",
    "Catalogue",
    "Described",
    "Known",
    "Lookout",
    "NamedBackends",
    "OllamaBackend",
    "OpenAIBackend",
    "Operation",
    "OwnNews",
    "Places",
    "Probe",
    "WorkersNews",
    "body_of",
    "not_here",
    "openai_model",
    "raise_for_status",
    "whole",
]
