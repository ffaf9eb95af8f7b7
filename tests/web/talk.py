"""Conversations for tests: begun, spoken in, and looked at in the tables that keep them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any, Final

import httpx
from sqlalchemy import Table, select, text

from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.database.tables import (
    conversation_owners,
    conversations,
    images,
    message_images,
    messages,
)
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama
from tests.service import Service

BASE: Final = "/api/database/conversations"
SAID: Final = "".join(DEFAULT_WORDS)
PNG: Final = b"\x89PNG\r\n\x1a\n and what follows"
JPEG: Final = b"\xff\xd8\xff\xe0 and what follows"
GIF: Final = b"GIF89a and what follows"
WEBP: Final = b"RIFF\x10\0\0\0WEBPVP8 and what follows"
TABLES: Final[Sequence[Table]] = (conversations, conversation_owners, messages, images, message_images)


def encoded(data: bytes) -> str:
    """Base64, as clients send images."""
    return base64.b64encode(data).decode()


def message(role: str, content: str = "", **more: Any) -> dict[str, Any]:
    """A message as it is sent."""
    return {"role": role, "content": content, **more}


async def begin(service: Service, *said: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A new conversation, as it is answered."""
    answer = await service.client.post(BASE, json={"messages": said, **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def read(service: Service, conversation_id: str, **query: Any) -> dict[str, Any]:
    """A conversation as it is shown."""
    answer = await service.client.get(f"{BASE}/{conversation_id}", params=query)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def post(service: Service, conversation_id: str, what: str, body: Any, **headers: str) -> httpx.Response:
    """Post to one of a conversation's routes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await service.client.post(f"{BASE}/{conversation_id}/{what}", json=body, headers=named)


async def say(service: Service, conversation_id: str, content: str = "Hi", **more: Any) -> dict[str, Any]:
    """Say something and hear the reply; where they are kept."""
    answer = await post(service, conversation_id, "messages", {"content": content, "stream": False, **more})
    return placed(answer)


async def again(service: Service, conversation_id: str, **more: Any) -> dict[str, Any]:
    """Have the last reply made anew; where it is kept."""
    return placed(await post(service, conversation_id, "regenerate", {"stream": False, **more}))


def placed(answer: httpx.Response) -> dict[str, Any]:
    """What the last line of an answer tells of where the reply is kept."""
    assert answer.status_code == 200, answer.text
    place: dict[str, Any] = json.loads(answer.text.splitlines()[-1])["conversation"]
    return place


def heard(fake: FakeOllama) -> list[dict[str, Any]]:
    """The bodies of the chats that the backend was asked for."""
    return [asked.json() for asked in fake.requests if asked.path == "/api/chat"]


def texts(shown: dict[str, Any]) -> list[str]:
    """What is said in a conversation."""
    return [each["content"] for each in shown["messages"]]


async def rows(service: Service, table: Table) -> list[dict[str, Any]]:
    """All of a table."""
    async with service.services.get(Database).reading() as connection:
        return [dict(row) for row in (await connection.execute(select(table))).mappings()]


async def kept(service: Service) -> dict[str, list[dict[str, Any]]]:
    """All that is kept of conversations."""
    return {table.name: await rows(service, table) for table in TABLES}


async def words_kept(service: Service, word: str) -> int:
    """In how many texts the search finds a word; it must be SQLite's."""
    found = text("SELECT count(*) FROM message_words WHERE message_words MATCH :word")
    async with service.services.get(Database).reading() as connection:
        return int((await connection.execute(found, {"word": word})).scalar_one())
