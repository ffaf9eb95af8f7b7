"""Reading a journal to its end, while it is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from math import inf
from time import monotonic
from typing import Final

from mlops_backend.errors import StreamBroken, StreamGone, Unavailable
from mlops_backend.services.other.journals.journal import Journals, Page

# A writer gives a sign each second.
_SILENT: Final = 6.0
_WAIT: Final = 1.0
# For so long a keeper may be away.
_PATIENCE: Final = 8.0
_AGAIN: Final = 0.2


async def follow(journals: Journals, journal: str, after: int = 0) -> AsyncGenerator[Page, None]:
    """Pages behind number `after`, as they come; the last one has an `outcome`.

    A page without pieces comes each second, as long as there is nothing new.

    Raises:
        NotFound: there is no such journal.
        StreamGone: a piece behind `after` is not kept any more.
        StreamBroken: its writer has died, or nobody can tell what it wrote.
    """
    away_since: float | None = None
    back_at = -inf
    while True:
        try:
            page = await journals.read(journal, after, _WAIT)
        except Unavailable:
            now = monotonic()
            away_since = away_since or now
            if now - away_since > _PATIENCE:
                raise StreamBroken("What keeps the stream does not answer.") from None
            await asyncio.sleep(_AGAIN)
            continue
        if away_since is not None:
            away_since, back_at = None, monotonic()  # its writer may have had to wait as well
        if page.oldest > after + 1:
            raise StreamGone("A part of the stream that was not read yet is not kept any more: it is too long.")
        after = page.last
        silent = min(page.silent, monotonic() - back_at)
        if page.outcome is None and silent > _SILENT and not page.pieces:
            raise StreamBroken("The process that made this answer is not there any more.")
        yield page
        if page.outcome is not None:
            return
