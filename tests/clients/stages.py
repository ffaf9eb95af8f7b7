"""Four services, each before another backend, with a key that may do all and one whose limit is reached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, cast

import httpx

from mlops_backend.app import create_app
from tests.clients.catalogue import Agent, Sight
from tests.clients.play import (
    ARGUMENTS,
    NOTE_FILE,
    PICTURE_FILE,
    TOOL,
    YOUNGER,
    Play,
    PlayingOllama,
    PlayingOpenAI,
    PlayingVLLM,
)
from tests.clients.sent import Kept
from tests.databases import sqlite_template
from tests.fakes.openai_server import MODEL as OPENAI_MODEL
from tests.service import ADMIN_KEY, ORDINARY_KEY, serving, settings_for

# Libraries are told to come again in an hour; agents, which wait as they are told, in some seconds.
REACHED: Final = "1/hour"
BRIEF: Final = "4/minute burst 1"
WRONG_KEY: Final = "nobody-s-key"


class Behind(StrEnum):
    """What is behind the service."""

    ENGINE = "embedded engine"
    OLLAMA = "Ollama 0.9.3"
    CHAT = "chat completions alone"
    VLLM = "vLLM"


VECTOR_SIZES: Final = {Behind.ENGINE: 576, Behind.OLLAMA: 8, Behind.CHAT: 2, Behind.VLLM: 2}


@dataclass(frozen=True)
class Stage:
    """One service: where it is, its model, its keys, and what it answered.

    `play` is what the fake behind it says; the embedded engine says what it likes.
    """

    behind: Behind
    url: str
    model: str
    limited_key: str
    brief_key: str
    kept: Kept
    play: Play | None

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What the fake was sent."""
        return self.play.bodies if self.play else []

    def begin(self, agent: Agent | None, home: Path) -> None:
        """Forget what was, and play for this agent, whose files are in `home`, or for a library."""
        self.kept.answers.clear()
        if self.play is None:
            return
        self.play.bodies.clear()
        self.play.tool, self.play.asked = TOOL, {"": ARGUMENTS}
        if agent:
            read = (NOTE_FILE, PICTURE_FILE) if agent.sight is Sight.READ else (NOTE_FILE,)
            self.play.tool, self.play.asked = agent.tool, {name: agent.reading(home / name) for name in read}

    @property
    def variables(self) -> dict[str, str]:
        """What a driver is told."""
        return {
            "URL": self.url,
            "MODEL": self.model,
            "KEY": ORDINARY_KEY,
            "WRONG_KEY": WRONG_KEY,
            "LIMITED_KEY": self.limited_key,
            "BRIEF_KEY": self.brief_key,
        }


@asynccontextmanager
async def stages(folder: Path) -> AsyncIterator[dict[Behind, Stage]]:
    """All four, until the block ends; their databases are in `folder`."""
    async with AsyncExitStack() as stack:
        ollama = await stack.enter_async_context(PlayingOllama(lacks=set(YOUNGER)))
        chat = await stack.enter_async_context(PlayingOpenAI())
        vllm = await stack.enter_async_context(PlayingVLLM())
        model = str(OPENAI_MODEL["id"])
        yield {
            Behind.ENGINE: await stack.enter_async_context(
                stage(Behind.ENGINE, folder, "smollm2:135m", None, embedded_engine="on")
            ),
            Behind.OLLAMA: await stack.enter_async_context(
                stage(Behind.OLLAMA, folder, "llama3:latest", ollama.play, ollama_base_url=ollama.url)
            ),
            Behind.CHAT: await stack.enter_async_context(
                stage(Behind.CHAT, folder, model, chat.play, openai_backends=chat.url)
            ),
            Behind.VLLM: await stack.enter_async_context(
                stage(Behind.VLLM, folder, model, vllm.play, openai_backends=vllm.url)
            ),
        }


@asynccontextmanager
async def stage(behind: Behind, folder: Path, model: str, play: Play | None, **settings: Any) -> AsyncIterator[Stage]:
    """One service."""
    file = folder / f"{behind.name.lower()}.db"
    file.write_bytes(await asyncio.to_thread(sqlite_template))
    made = settings_for(database_url=f"sqlite:///{file}", key_in_url=True, auth_failure_limit="off", **settings)
    app = create_app(made)
    kept = Kept(app.asgi_app)
    app.asgi_app = cast(Any, kept)  # type: ignore[method-assign]
    async with serving(made, app) as service:
        reached, brief = [await limited_key(service.url, model, rate) for rate in (REACHED, BRIEF)]
        yield Stage(behind, service.url, model, reached, brief, kept, play)


async def limited_key(url: str, model: str, rate: str) -> str:
    """Make a key with a rate, and use it once."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=False, timeout=60) as client:
        wanted = {"name": "limited", "limits": {"requests": rate}}
        made = await client.post("/api/admin/keys", json=wanted, headers={"X-API-Key": ADMIN_KEY})
        assert made.status_code == 201, made.text
        key = str(made.json()["key"])
        used = {"model": model, "prompt": "Hi", "stream": False, "options": {"num_predict": 1}}
        answer = await client.post("/api/generate", json=used, headers={"X-API-Key": key})
        assert answer.status_code == 200, answer.text
    return key
