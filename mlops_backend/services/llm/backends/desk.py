"""What administrators see of the backends, and do with them."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from mlops_backend.errors import AppError
from mlops_backend.services.llm.backends.look import State
from mlops_backend.services.llm.backends.named import NamedBackends
from mlops_backend.services.llm.backends.news import BackendNews
from mlops_backend.services.llm.backends.pool import BackendPool

# Who looks at a list does not wait for long for what is only a part of it.
_LOADED_WITHIN: Final = 1.0


class BackendDesk:
    """The backends, for administrators.

    Args:
        pool: the backends.
        news: where changes go.
        named: knows whether the file could be used.
    """

    def __init__(self, pool: BackendPool, news: BackendNews, named: NamedBackends) -> None:
        self._pool = pool
        self._news = news
        self._named = named

    async def listed(self) -> dict[str, Any]:
        """All backends, each as it was found at most two seconds ago, and why the file is not in use as it is."""
        states = await self._pool.states()
        loaded = await asyncio.gather(*map(_loaded, states))
        shown = [_shown(state, models) for state, models in zip(states, loaded, strict=True)]
        return {"backends": shown, "file_error": self._named.trouble or None}

    async def drain(self, name: str) -> dict[str, Any]:
        """Give it no new generation: the backend as it was when it was last asked.

        Raises:
            NotFound: there is none of that name.
            Unavailable: the other workers cannot be told at present.
        """
        return await self._changed(name, drained=True)

    async def resume(self, name: str) -> dict[str, Any]:
        """Give it generations again; see `drain`."""
        return await self._changed(name, drained=False)

    async def probe(self, name: str) -> dict[str, Any]:
        """The backend as it answers now.

        Raises:
            NotFound: there is none of that name.
        """
        state = await self._pool.asked(name)
        return _shown(state, await _loaded(state))

    async def _changed(self, name: str, *, drained: bool) -> dict[str, Any]:
        self._pool.state(name)
        await self._news.drain(name, drained=drained)
        return _shown(self._pool.state(name), None)


def _shown(state: State, loaded: list[str] | None) -> dict[str, Any]:
    told, probe = state.described, state.probe
    return {
        "name": told.name,
        "url": told.backend.address,
        "kind": told.backend.kind,
        "source": told.source,
        "reachable": probe.reachable,
        "version": probe.version,
        "latency_ms": round(probe.latency * 1000, 2),
        "error": probe.error or None,
        "note": probe.note or None,
        "models": len(probe.models),
        "loaded": loaded,
        "drained": state.drained,
        "max_concurrency": told.most,
        "weight": told.weight,
        "tags": list(told.tags),
    }


async def _loaded(state: State) -> list[str] | None:
    """The names of the models that an Ollama has loaded; `None` where it does not say so soon, or is none."""
    if not state.probe.reachable or state.described.backend.kind != "ollama":
        return None
    try:
        async with asyncio.timeout(_LOADED_WITHIN):
            models = await state.described.backend.running()
    except (AppError, TimeoutError):
        return None
    return [str(model.get("name", "")) for model in models]
