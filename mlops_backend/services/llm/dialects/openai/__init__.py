"""Translation between Ollama's wire format and OpenAI's."""

from __future__ import annotations

from mlops_backend.services.llm.dialects.openai import listing, replies, requests
from mlops_backend.services.llm.dialects.openai.bodies import flag, named, read_body
from mlops_backend.services.llm.dialects.openai.checked import ROUTES
from mlops_backend.services.llm.dialects.openai.embeddings import native_reply, native_request
from mlops_backend.services.llm.dialects.openai.free_text import PARAMETER, free_text
from mlops_backend.services.llm.dialects.openai.history import with_instructions_first
from mlops_backend.services.llm.dialects.openai.messages import Model
from mlops_backend.services.llm.dialects.openai.pieces import Estimate
from mlops_backend.services.llm.dialects.openai.requests import CHAT_PATH, COMPLETION_PATH, EMBED_PATH, LLAMA_CPP
from mlops_backend.services.llm.dialects.openai.response_events import (
    RESPONSE,
    RESPONSES_PATH,
    completed_events,
    completed_response,
)
from mlops_backend.services.llm.dialects.openai.stops import watched
from mlops_backend.services.llm.dialects.openai.stream import StreamTranslator
from mlops_backend.services.llm.dialects.openai.tools import fitting_name, free_form_of, names_to_restore
from mlops_backend.services.llm.dialects.openai.usage_apart import usage_apart
from mlops_backend.services.llm.dialects.openai.usage_chunk import UnaskedUsage, wants_usage, with_usage_wanted

__all__ = [
    "CHAT_PATH",
    "COMPLETION_PATH",
    "EMBED_PATH",
    "LLAMA_CPP",
    "PARAMETER",
    "RESPONSE",
    "RESPONSES_PATH",
    "ROUTES",
    "Estimate",
    "Model",
    "StreamTranslator",
    "UnaskedUsage",
    "completed_events",
    "completed_response",
    "fitting_name",
    "flag",
    "free_form_of",
    "free_text",
    "listing",
    "named",
    "names_to_restore",
    "native_reply",
    "native_request",
    "read_body",
    "replies",
    "requests",
    "usage_apart",
    "wants_usage",
    "watched",
    "with_instructions_first",
    "with_usage_wanted",
]
