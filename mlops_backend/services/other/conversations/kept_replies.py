"""Replies that have ended, on their way into their conversations: their clients may be gone, and the database too."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from mlops_backend.services.other.conversations.rows import Message
from mlops_backend.services.other.conversations.steps import Turn
from mlops_backend.services.other.conversations.turns import Turns
from mlops_backend.services.other.database import PatientWrites

log: Final = structlog.get_logger(__name__)


class KeptReplies(PatientWrites[int | None]):
    """Writes replies patiently."""

    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self._turns = turns

    def keep(self, turn: Turn, reply: Message) -> asyncio.Task[int | None]:
        """Keep a reply; the task gives the version of the conversation with it, `None` when it is not in there."""
        return self.write(turn.conversation_id, reply.size, lambda: self._turns.keep(turn, reply))

    def _tell_late(self, lost: int) -> None:
        log.error("replies are lost: they could not be written before the end", lost=lost)

    def _tell_lost(self, named: str) -> None:
        log.error("a reply is lost: it could not be written in time", conversation=named)

    def _tell_failed(self, named: str) -> None:
        log.exception("a reply is lost", conversation=named)
