"""One who listens to `/api/console/events`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx

EVENTS: Final = "/api/console/events"
Told = dict[str, Any]


class Ear:
    """One who listens: all events so far, in their order, and the comments among them."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.events: list[tuple[str, str, Told]] = []
        self.comments = 0
        self._more = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def until(self, kind: str, wanted: Callable[[Told], bool] = lambda _: True) -> Told:
        """The last event of a kind, once it is as it is wanted."""
        async with asyncio.timeout(20):
            while True:
                last = next((told for _, name, told in reversed(self.events) if name == kind), None)
                if last is not None and wanted(last):
                    return last
                self._more.clear()
                await self._more.wait()

    async def all_of(self, kinds: set[str]) -> None:
        """Wait until each of these was told."""
        for kind in kinds:
            await self.until(kind)

    async def end(self) -> None:
        """Wait until the service has ended it."""
        async with asyncio.timeout(20):
            await self._reading

    async def close(self) -> None:
        """Listen no more."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        fields: dict[str, str] = {}
        async for line in self.answer.aiter_lines():
            if line == "" and "event" in fields:
                self.events.append((fields["id"], fields["event"], json.loads(fields["data"])))
                fields = {}
            elif line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            self._more.set()


@asynccontextmanager
async def listening_by(client: httpx.AsyncClient, headers: dict[str, str]) -> AsyncIterator[Ear]:
    """Listen until the block ends."""
    async with client.stream("GET", EVENTS, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        ear = Ear(answer)
        try:
            yield ear
        finally:
            await ear.close()
