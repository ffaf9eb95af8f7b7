"""Conversations and messages as the database has them, and as people see them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import RowMapping

from mlops_backend.schemas.conversations.bodies import is_line

LONGEST_MADE_TITLE: Final = 80
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation; times are milliseconds since the epoch, `bytes` counts texts and images."""

    id: str
    key_id: str
    owner: str
    title: str
    model: str
    created_at: int
    updated_at: int
    version: int
    next_sequence: int
    message_count: int
    bytes: int

    def shown(self) -> dict[str, Any]:
        """As people see it."""
        return {
            "id": self.id,
            "title": self.title,
            "model": self.model,
            "created_at": written(self.created_at),
            "updated_at": written(self.updated_at),
            "version": self.version,
            "message_count": self.message_count,
        }


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image without its bytes; `hash` is their SHA-256."""

    hash: str
    media_type: str
    size: int


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `outcome` and what follows it is known of replies only."""

    id: str
    sequence: int
    role: str
    content: str = ""
    thinking: str = ""
    tool_calls: Sequence[Mapping[str, Any]] = ()
    tool_name: str = ""
    images: Sequence[StoredImage] = ()
    created_at: int = 0
    model: str = ""
    outcome: str = ""
    error: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    estimated: bool = False
    omitted: int = 0
    first_byte_ms: int | None = None
    total_ms: int | None = None
    replaced_at: int | None = None

    @classmethod
    def of_row(cls, row: Mapping[str, Any] | RowMapping) -> Message:
        """Read a row of `messages`; the images are to be added."""
        known = {name: row[name] for name in _STORED}
        known["tool_calls"] = json.loads(calls) if (calls := known["tool_calls"]) else []
        return cls(**known)

    @classmethod
    def as_shown(
        cls, id: str, sequence: int, role: str, content: str, thinking: str, calls: str, tool_name: str
    ) -> Message:
        """Read what a model is shown of a row."""
        return cls(id, sequence, role, content, thinking, json.loads(calls) if calls else (), tool_name)

    def row(self, conversation_id: str, owner: str) -> dict[str, Any]:
        """The row of `messages`."""
        known = {name: getattr(self, name) for name in _STORED}
        calls = json.dumps(self.tool_calls, ensure_ascii=False) if self.tool_calls else ""
        return {
            **known,
            "tool_calls": calls,
            "conversation_id": conversation_id,
            "owner": owner,
            "bytes": self.size,
        }

    def with_images(self, images: Sequence[StoredImage]) -> Message:
        """The same with its images."""
        return replace(self, images=tuple(images)) if images or self.images else self

    @property
    def size(self) -> int:
        """Bytes of its texts and images."""
        calls = json.dumps(self.tool_calls, ensure_ascii=False) if self.tool_calls else ""
        texts = (self.content, self.thinking, calls, self.tool_name)
        return sum(map(_bytes_of, texts)) + sum([image.size for image in self.images])

    def shown(self) -> dict[str, Any]:
        """As people see it: what has no value is left out."""
        told = {
            "thinking": self.thinking,
            "tool_calls": list(self.tool_calls),
            "tool_name": self.tool_name,
            "model": self.model,
            "outcome": self.outcome,
            "error": self.error,
            "tokens_estimated": self.estimated,
            "omitted_messages": self.omitted,
            "replaced_at": None if self.replaced_at is None else written(self.replaced_at),
        }
        counts = {name: getattr(self, name) for name in _COUNTS}
        return {
            "id": self.id,
            "role": self.role,
            "content": self.content,
            "images": [{"hash": i.hash, "media_type": i.media_type, "size": i.size} for i in self.images],
            "created_at": written(self.created_at),
            **{name: value for name, value in told.items() if value},
            **{name: value for name, value in counts.items() if value is not None},
        }


_COUNTS: Final = ("prompt_tokens", "completion_tokens", "first_byte_ms", "total_ms")
_STORED: Final = tuple(field.name for field in fields(Message) if field.name != "images")


def new_id(now: int) -> str:
    """An id that grows with time and cannot be guessed: 12 hexadecimal digits of `now`, 20 at random."""
    return f"{now & 0xFFFFFFFFFFFF:012x}{os.urandom(10).hex()}"


def is_id(text: str) -> bool:
    """Whether it is written as ids and hashes are: what is not, such as a NUL, need not be looked for."""
    return text.isascii() and text.isalnum()


def owner_of(key_id: str) -> str:
    """What stands for a key in the full-text index."""
    return sha256(key_id.encode()).hexdigest()[:32]


def written(milliseconds: int) -> str:
    """RFC 3339 in UTC."""
    return (_EPOCH + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds")


def title_from(text: str) -> str:
    """A title made from a message: its beginning in one line, whole words where there are any."""
    words = "".join(mark if is_line(mark) else " " for mark in text.lstrip()[: 8 * LONGEST_MADE_TITLE]).split()
    line = " ".join(words)
    if len(line) <= LONGEST_MADE_TITLE:
        return line
    cut = line[: LONGEST_MADE_TITLE - 1]
    return (cut.rpartition(" ")[0] or cut) + "…"


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
