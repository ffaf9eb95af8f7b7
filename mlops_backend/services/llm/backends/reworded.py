"""A request that this service has bounded, in the words that its server takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Final

from mlops_backend.errors import AppError
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.backends.backend import Answer, once
from mlops_backend.services.llm.backends.statuses import words_of
from mlops_backend.services.llm.dialects import LargeBody
from mlops_backend.services.llm.upstream import gathered

_REFUSED: Final = (400, 422)


@asynccontextmanager
async def accepted(ask: Callable[[Asked], AbstractAsyncContextManager[Answer]], asked: Asked) -> AsyncIterator[Answer]:
    """The answer to a request; where the server refuses what was put into it, to what is to be asked instead.

    Raises, when entered:
        AppError: whatever kept the answer away, a refusal among it where `ask` raises it.
    """
    async with AsyncExitStack() as stack:
        try:
            answer = await stack.enter_async_context(ask(asked))
        except AppError as error:
            content = _instead(asked, error.status, error.message)
            if content is None:
                raise
        else:
            if not asked.instead or answer.status not in _REFUSED:
                yield answer
                return
            words = await gathered(answer.chunks)
            content = _instead(asked, answer.status, words_of(words))
            if content is None:
                yield answer.changed(once(words))
                return
    async with ask(replace(asked, content=content, instead=())) as answer:
        yield answer


def _instead(asked: Asked, status: int, words: str) -> bytes | LargeBody | None:
    told = words.lower()
    known = asked.instead if status in _REFUSED else ()
    return next((content for word, content in known if word in told), None)
