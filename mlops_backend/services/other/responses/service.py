"""Responses that are stored: each is its key's alone, and can be continued, read and deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import time
from typing import Any, Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from mlops_backend.aside import aside
from mlops_backend.errors import BodyTooLarge, NotFound
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.other.database import Database
from mlops_backend.services.other.responses import reads, rows, writes
from mlops_backend.services.other.responses.kept_responses import KeptResponses
from mlops_backend.services.other.responses.naming import NamedEnding, Naming
from mlops_backend.services.other.responses.questions import continued, read_question
from mlops_backend.services.other.responses.rows import StoredResponse
from mlops_backend.services.other.responses.writes import Bounds

T = TypeVar("T")
# Takes a status and a body; gives the body.
Whole = Callable[[int, bytes], Awaitable[bytes]]

# Between two looks for what another process may just be writing.
_PAUSE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Begun:
    """A request as a backend is asked, and what makes the client's answer of one that is no stream.

    `let_go` is for one that fails.
    """

    asked: Asked
    whole: Whole | None = None
    let_go: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class _Before:
    """What a response continues: its items, and which of those responses are to be kept for longer."""

    items: bytes = b""
    used: Sequence[str] = ()


@dataclass(slots=True)
class _Keep:
    """What is held of a request until its answer has come, and where that goes then."""

    responses: StoredResponses
    key_id: str
    naming: Naming
    items: bytes
    used: Sequence[str]

    def __call__(self, response: str) -> bool:
        """Have a response written."""
        return self.responses.keep(self.key_id, self.naming, self.items, self.used, response)

    def let_go(self) -> None:
        """Nothing will come any more."""
        self.items = b""


class StoredResponses:
    """Every method takes the id of the key that asks: another key's response does not exist for it.

    Args:
        database: where they are.
        kept: where those go that have ended.
        bounds: how much may be kept.
        most: bytes of what a response continues, all together.
        looks: how often one is looked for; more than once where another process may just be writing it.
        enabled: whether any are stored; what was stored before can still be read.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        kept: KeptResponses,
        bounds: Bounds,
        most: int,
        *,
        looks: int,
        enabled: bool,
        clock: Callable[[], float] = time,
    ) -> None:
        self._database = database
        self._kept = kept
        self._bounds = bounds
        self._most = most
        self._looks = looks
        self._enabled = enabled
        self._clock = clock

    async def begin(self, asked: Asked, key_id: str, count: Callable[[int], None]) -> Begun | None:
        """Put what came before into a request, and have its response stored when it has ended.

        Args:
            asked: the request.
            key_id: of the key that asks.
            count: is told, before what came before is read, how many bytes that has; raises where there is no room.

        Returns:
            `None` where it goes as it is: nothing is stored, and nothing continued.

        Raises:
            NotFound: the key has no such response as the one that it continues.
            BodyTooLarge: what it continues is too long.
            DatabaseDown: that cannot be read.
            AppError: whatever `count` raises.
        """
        content = asked.content
        if not self._enabled or not asked.readable or not isinstance(content, bytes):
            return None
        question = await aside(len(content), read_question, content)
        if question is None or question.items is None:
            return None
        before = await self._before(key_id, question.previous_id, count) if question.previous_id else None
        stored = question.store and len(question.items) <= self._bounds.bytes
        if before is None and not stored:
            return None if question.sent == content else Begun(replace(asked, content=question.sent))
        sent = question.sent
        if before is not None:
            size = len(content) + len(before.items)
            sent = await aside(size, continued, content, before.items, question.items)
        naming = Naming(rows.new_id() if stored else "", question.previous_id, stored=stored)
        keep = _Keep(self, key_id, naming, question.items if stored else b"", before.used if before else ())
        asked = replace(asked, content=sent, ending=partial(NamedEnding, naming, keep))
        return Begun(asked, partial(naming.whole, keep=keep), keep.let_go)

    async def get(self, key_id: str, response_id: str) -> str:
        """A response's JSON.

        Raises:
            NotFound: the key has none of that id.
            DatabaseDown: it cannot be read.
        """
        return (await self._one(key_id, response_id))[1]

    async def input_items(self, key_id: str, response_id: str) -> list[dict[str, Any]]:
        """The items of a response's own request, in their order; raises what `get` raises."""
        asked, _ = await self._one(key_id, response_id)
        return await aside(len(asked), rows.input_items, response_id, asked)

    async def delete(self, key_id: str, response_id: str) -> None:
        """Delete a response; those that continue it cannot be continued any more. Raises what `get` raises."""
        await self._one(key_id, response_id)
        await self._database.transaction(lambda connection: writes.remove(connection, key_id, response_id))

    async def delete_all(self, key_id: str) -> int:
        """Delete everything that a key has, some at a time; how many there were.

        Raises:
            DatabaseDown: it cannot be reached; what was deleted by then is.
        """
        deleted = 0
        while "\0" not in key_id:  # which PostgreSQL does not take
            some = await self._database.transaction(lambda connection: writes.remove_some(connection, key_id))
            deleted += some
            if some < writes.AT_ONCE:
                break
        return deleted

    def keep(self, key_id: str, naming: Naming, items: bytes, used: Sequence[str], response: str) -> bool:
        """Have a response written, beside the answer; whether it is not too large for that."""
        size = len(items) + rows.size_of(response)
        if size > self._bounds.bytes:
            return False
        now = self._now()
        times = (now, now + self._bounds.life)
        previous = naming.previous_id or None
        self._kept.keep(StoredResponse(naming.id, key_id, previous, *times, size, rows.as_text(items), response), used)
        return True

    async def _one(self, key_id: str, response_id: str) -> tuple[str, str]:
        return await self._found(response_id, lambda found: reads.one(found, key_id, response_id, self._now()))

    async def _before(self, key_id: str, response_id: str, count: Callable[[int], None]) -> _Before:
        links = await self._found(response_id, lambda found: reads.links(found, key_id, response_id, self._now()))
        if links[-1].previous_id is not None and len(links) < reads.MOST_LINKS:
            raise NotFound("The response continues one that is not there any more.")
        size = sum(link.bytes for link in links)
        if links[-1].previous_id is not None or size > self._most:
            raise BodyTooLarge("What the response continues is too long to be continued.")
        count(size)
        ids = [link.id for link in reversed(links)]
        async with self._database.reading() as connection:
            texts = await reads.texts(connection, ids)
        if len(texts) < len(ids):
            raise rows.no_such_response()
        soon = self._now() + self._bounds.life // 2
        used = [link.id for link in links if link.expires_at < soon]
        return _Before(await aside(size, rows.said, texts), used)

    async def _found(self, response_id: str, look: Callable[[AsyncConnection], Awaitable[T | None]]) -> T:
        """What a look finds, once it finds something; another process may just be writing it."""
        if not rows.is_id(response_id):
            raise rows.no_such_response()
        await self._kept.written(response_id)
        for left in range(self._looks, 0, -1):
            async with self._database.reading() as connection:
                if found := await look(connection):
                    return found
            if left > 1:
                await asyncio.sleep(_PAUSE)
        raise rows.no_such_response()

    def _now(self) -> int:
        return int(self._clock() * 1000)
