"""Stored conversations."""

from __future__ import annotations

from mlops_backend.services.other.conversations.exports import FORMATS, Exports, Whole, document
from mlops_backend.services.other.conversations.imports import Imports
from mlops_backend.services.other.conversations.replies import Replies
from mlops_backend.services.other.conversations.rows import Conversation, Message
from mlops_backend.services.other.conversations.service import Conversations
from mlops_backend.services.other.conversations.steps import Turn
from mlops_backend.services.other.conversations.turns import Turns, question
from mlops_backend.services.other.conversations.wiring import build_conversations

__all__ = [
    "FORMATS",
    "Conversation",
    "Conversations",
    "Exports",
    "Imports",
    "Message",
    "Replies",
    "Turn",
    "Turns",
    "Whole",
    "build_conversations",
    "document",
    "question",
]
