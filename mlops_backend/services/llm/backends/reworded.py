"""A request that this service has bounded, in the words that its server takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Final

from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.backends.backend import Answer, once
from mlops_backend.services.llm.backends.statuses import words_of
from mlops_backend.services.llm.upstream import gathered

_REFUSED: Final = (400, 422)


@asynccontextmanager
async def accepted(ask: Callable[[Asked], AbstractAsyncContextManager[Answer]], asked: Asked) -> AsyncIterator[Answer]:
    """The answer to a request; where the server refuses the maximum in it, to what is to be asked instead."""
    async with ask(asked) as answer:
        if not asked.instead or answer.status not in _REFUSED:
            yield answer
            return
        words = await gathered(answer.chunks)
        told = words_of(words).lower()
        content = next((content for word, content in asked.instead if word in told), None)
        if content is None:
            yield answer.changed(once(words))
            return
    async with ask(replace(asked, content=content, instead=())) as answer:
        yield answer
