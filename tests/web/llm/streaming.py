"""Streams that outlive their connections, as tests begin and read them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from tests.service import ADMIN_KEY, Service

PROMPT: Final[dict[str, Any]] = {"model": "llama3", "prompt": "Hi"}
CHAT: Final[dict[str, Any]] = {"model": "llama3", "messages": [{"role": "user", "content": "Hi"}]}


async def begin(service: Service, body: dict[str, Any] = PROMPT, **headers: str) -> dict[str, Any]:
    """What POST answers."""
    answer = await service.client.post("/api/llm/streams", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == answer.json()["url"]
    begun: dict[str, Any] = answer.json()
    return begun


@dataclass
class Told:
    """Events: their numbers, and the objects that they bring; `failures` are those without a number."""

    numbers: list[int] = field(default_factory=list)
    objects: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What they say."""
        return "".join(each.get("response") or each.get("message", {}).get("content", "") for each in self.objects)

    def take(self, event: str) -> None:
        """One more."""
        fields = dict(line.partition(": ")[::2] for line in event.splitlines() if not line.startswith(":"))
        if "data" not in fields:
            return
        told = json.loads(fields["data"])
        if "id" in fields:
            self.numbers.append(int(fields["id"]))
            self.objects.append(told)
        else:
            self.failures.append(told)


def told_in(text: str) -> Told:
    """The events of an answer."""
    told = Told()
    for event in text.split("\n\n"):
        told.take(event)
    return told


async def read(service: Service, url: str, after: int | None = None, most: int | None = None) -> Told:
    """Read from behind an event on, and leave after `most` of them."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    told, held = Told(), ""
    async with service.stranger.stream("GET", url, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        async for chunk in answer.aiter_text():
            *events, held = (held + chunk).split("\n\n")
            for event in events:
                if most is None or len(told.numbers) < most:
                    told.take(event)
            if most is not None and len(told.numbers) >= most:
                break
    return told


async def rows(service: Service, count: int = 1) -> list[dict[str, Any]]:
    """The rows of the ledger, once there are so many."""
    async with asyncio.timeout(20):
        while True:
            answer = await service.client.get("/api/admin/usage/generations", headers={"X-API-Key": ADMIN_KEY})
            found: list[dict[str, Any]] = answer.json()["generations"]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


async def make_key(service: Service, name: str, **choices: Any) -> tuple[str, dict[str, str]]:
    """A key's id, and the header that presents it."""
    headers = {"X-API-Key": ADMIN_KEY}
    made: httpx.Response = await service.client.post("/api/admin/keys", json={"name": name, **choices}, headers=headers)
    return made.json()["id"], {"X-API-Key": made.json()["key"]}
