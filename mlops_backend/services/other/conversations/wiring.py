"""Builds the services of stored conversations."""

from __future__ import annotations

from mlops_backend.config import Settings
from mlops_backend.services.llm.ollama_service import OllamaService
from mlops_backend.services.other.conversations.bounds import Bounds
from mlops_backend.services.other.conversations.exports import Exports
from mlops_backend.services.other.conversations.imports import Imports
from mlops_backend.services.other.conversations.kept_replies import KeptReplies
from mlops_backend.services.other.conversations.replies import Replies
from mlops_backend.services.other.conversations.service import Conversations
from mlops_backend.services.other.conversations.together import Together
from mlops_backend.services.other.conversations.turns import Turns
from mlops_backend.services.other.database import Database
from mlops_backend.services.registry import Services
from mlops_backend.telemetry.metrics import Metrics


def build_conversations(services: Services, settings: Settings) -> KeptReplies:
    """What stores conversations and has them replied to; what comes back is opened by the lifespan."""
    database = services.get(Database)
    bounds = Bounds(
        settings.conversations_per_key,
        settings.conversation_messages,
        settings.conversation_bytes,
        settings.conversation_bytes_per_key,
    )
    conversations = services.add(Conversations(database, bounds))
    services.add(Exports(database))
    services.add(Imports(conversations, bounds))
    turns = services.add(Turns(conversations, Together(database, bounds), bounds))
    kept = services.add(KeptReplies(turns))
    services.add(Replies(database, kept, services.get(OllamaService), settings.default_context))
    metrics = services.get(Metrics)
    metrics.gauge("replies_waiting", "Replies that are not in their conversations yet.", lambda: kept.waiting)
    metrics.counter("replies_lost", "Replies that could not be kept.", lambda: kept.lost)
    return kept
