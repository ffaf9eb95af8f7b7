"""What administrators see of the backends, and do with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from mlops_backend.errors import AppError
from mlops_backend.services.llm.backends.look import State
from mlops_backend.services.llm.backends.named import NamedBackends
from mlops_backend.services.llm.backends.news import BackendNews
from mlops_backend.services.llm.backends.pool import BackendPool
from mlops_backend.services.llm.model_names import canonical
from mlops_backend.services.llm.routing import Breaker

Listed = dict[str, Any]
# Who looks at a list does not wait for long for what is only a part of it.
_LOADED_WITHIN: Final = 1.0


class BackendDesk:
    """The backends, for administrators.

    Args:
        pool: the backends.
        news: where changes go.
        named: knows whether the file could be used.
        breaker: finds a backend's breaker by its name; `None` where it was never asked.
    """

    def __init__(
        self,
        pool: BackendPool,
        news: BackendNews,
        named: NamedBackends,
        breaker: Callable[[str], Breaker | None] = lambda _: None,
    ) -> None:
        self._pool = pool
        self._news = news
        self._named = named
        self._breaker = breaker
        self._loaded: dict[str, list[Listed] | None] = {}

    async def listed(self) -> dict[str, Any]:
        """All backends, each as it was found at most two seconds ago, and why the file is not in use as it is."""
        states = await self._pool.states()
        loaded = await asyncio.gather(*map(_loaded, states))
        self._loaded = {state.described.name: models for state, models in zip(states, loaded, strict=True)}
        return self._told(states)

    def known(self) -> dict[str, Any]:
        """The same as it is known at present, however old it is; nobody is asked."""
        return self._told([self._pool.state(name) for name in self._pool.names])

    def models(self) -> Iterator[tuple[Listed, bool]]:
        """Each model that is known of any backend, once, and whether one was found to have it loaded."""
        loaded = {_name_of(model) for models in self._loaded.values() for model in models or ()}
        found: dict[str, Listed] = {}
        for known in self._pool.known():
            for model in known.probe.models if known.probe is not None else ():
                found.setdefault(_name_of(model), model)
        yield from ((model, name in loaded) for name, model in found.items())

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
        self._loaded[name] = await _loaded(state)
        return self._shown(state, self._loaded[name])

    async def _changed(self, name: str, *, drained: bool) -> dict[str, Any]:
        self._pool.state(name)
        await self._news.drain(name, drained=drained)
        return self._shown(self._pool.state(name), None)

    def _told(self, states: Sequence[State]) -> dict[str, Any]:
        shown = [self._shown(state, self._loaded.get(state.described.name)) for state in states]
        return {"backends": shown, "file_error": self._named.trouble or None}

    def _shown(self, state: State, loaded: list[Listed] | None) -> dict[str, Any]:
        return {
            **_described(state),
            "loaded": None if loaded is None else [str(model.get("name", "")) for model in loaded],
            "loaded_models": None if loaded is None else [_in_memory(model) for model in loaded],
            "breaker": _tripped(self._breaker(state.described.name)),
        }


def _described(state: State) -> dict[str, Any]:
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
        "drained": state.drained,
        "max_concurrency": told.most,
        "weight": told.weight,
        "tags": list(told.tags),
    }


def _in_memory(model: Listed) -> dict[str, Any]:
    """A model of `/api/ps`; what a backend does not tell, or not as Ollama does, is `None`."""
    expires = model.get("expires_at")
    return {
        "name": str(model.get("name", "")),
        "bytes": _count(model.get("size")),
        "vram_bytes": _count(model.get("size_vram")),
        "context_length": _count(model.get("context_length")),
        "expires_at": expires if isinstance(expires, str) else None,
    }


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def _tripped(breaker: Breaker | None) -> dict[str, Any]:
    trip = None if breaker is None else breaker.trip
    if breaker is None or trip is None:
        return {"state": "closed", "seconds": 0.0, "openings": 0}
    return {"state": breaker.state, "seconds": round(trip[0], 1), "openings": trip[1]}


def _name_of(model: Listed) -> str:
    return canonical(str(model.get("name", "")))


async def _loaded(state: State) -> list[Listed] | None:
    """The models that an Ollama has loaded; `None` where it does not say so soon, or is none."""
    if not state.probe.reachable or state.described.backend.kind != "ollama":
        return None
    try:
        async with asyncio.timeout(_LOADED_WITHIN):
            return await state.described.backend.running()
    except (AppError, TimeoutError):
        return None
