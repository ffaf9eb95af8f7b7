"""The catalogue: what all backends have together, where one Ollama's own list is not the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from time import monotonic
from typing import Any, Final
from urllib.parse import unquote

from mlops_backend.errors import AppError, BackendFailed, BackendRejected
from mlops_backend.principal import Principal
from mlops_backend.services.llm.aliases import Aliases
from mlops_backend.services.llm.backends.look import Probe, no_usable
from mlops_backend.services.llm.backends.pool import BackendPool
from mlops_backend.services.llm.dialects.openai import listing
from mlops_backend.services.llm.model_names import canonical

Listed = dict[str, Any]
# Claimed where there is no Ollama behind: the newest release whose routes are all here, the next ones have some for
# images. Clients look at it before they ask: Codex wants 0.13.4, for /v1/responses. The tests hold its routes.
SPOKEN_VERSION: Final = "0.14.0"
_ONE: Final = "/v1/models/"
_LISTS: Final = ("/api/tags", "/v1/models")
_RUNNING_TIMEOUT: Final = 5.0
# A generation may wait for this, so it is asked rarely, in the background where something is known, and not for long.
_CONTEXTS_LIFE: Final = 10.0
_CONTEXTS_TIMEOUT: Final = 1.0
_MOST_CONTEXTS: Final = 10_000


class Catalogue:
    """Models and health over all backends.

    Args:
        pool: the backends.
        aliases: the operator's own names for models, which are listed too.
    """

    def __init__(self, pool: BackendPool, aliases: Aliases) -> None:
        self._pool = pool
        self._aliases = aliases
        self._contexts: dict[str, int] = {}
        self._contexts_until = 0.0
        self._look: asyncio.Task[None] | None = None
        self._answers: Mapping[str, Callable[[], Awaitable[Listed]]] = {
            "/api/tags": self._tags,
            "/api/ps": self._running,
            "/api/version": self._version,
            "/v1/models": self._openai_models,
        }

    async def answer(self, path: str, caller: Principal | None = None) -> Listed | None:
        """The merged answer of a route that lists things; `None` when a backend's own is the answer.

        A caller whose key has a list of models sees no other.

        Raises:
            NoUsableBackend: none answers.
        """
        if path.startswith(_ONE) and ("%2F" in path or self._aliases.models(unquote(path.removeprefix(_ONE)))):
            # Ollama's own route takes no such name
            return await self._openai_model(unquote(path.removeprefix(_ONE)))
        merged = self._answers.get(path)
        restricted = caller is not None and bool(caller.models)
        changed = restricted or (bool(self._aliases) and path in _LISTS)
        if merged is None or (self._pool.only_ollama and not changed):
            return None
        return _allowed(await merged(), caller)

    async def models(self, caller: Principal | None = None, *, aliased: bool = True) -> Listed:
        """Every model of every reachable backend; `partial` and `unreachable` tell when one is missing.

        A caller whose key has a list of models sees no other. The operator's own names for models are among them where
        they are to be `aliased`.

        Raises:
            NoUsableBackend: none answers.
        """
        probes = await self._telling()
        missing = [probe.backend.address for probe in probes if not _tells(probe)]
        merged = _merged(model for probe in probes for model in probe.models)
        listed = self._aliases.listed(merged, "name") if aliased else merged
        models = _allowed({"models": listed}, caller)["models"]
        answer: Listed = {"models": models, "count": len(models)}
        return {**answer, "partial": True, "unreachable": missing} if missing else answer

    async def health(self, caller: Principal | None = None) -> Listed:
        """`healthy` when every backend answers, `degraded` when some do, `unhealthy` when none does."""
        probes = await self._pool.probe()
        reachable = sum(probe.reachable for probe in probes)
        sound = sum(map(_tells, probes))
        status = "unhealthy" if not reachable else "healthy" if sound == len(probes) else "degraded"
        return {"status": status, "backends": [_describe(probe, caller) for probe in probes]}

    async def context_length(self, model: str) -> int | None:
        """How many tokens the context of a loaded model has; the least of them when several backends have it loaded.

        What was told last counts while it is not loaded. `None` when nobody told: it was not loaded since this process
        started, or its Ollama is older than 0.10.
        """
        name = canonical(model)
        if monotonic() > self._contexts_until and (self._look is None or self._look.done()):
            self._contexts_until = monotonic() + _CONTEXTS_LIFE
            self._look = asyncio.create_task(self._learn_contexts())
        if name not in self._contexts and self._look is not None and not self._look.done():
            await asyncio.wait({self._look}, timeout=_CONTEXTS_TIMEOUT)
        return self._contexts.get(name)

    async def aclose(self) -> None:
        """End the look under way."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.gather(self._look, return_exceptions=True)

    async def _learn_contexts(self) -> None:
        self._contexts |= await self._loaded_contexts()
        while len(self._contexts) > _MOST_CONTEXTS:
            del self._contexts[next(iter(self._contexts))]

    async def _loaded_contexts(self) -> dict[str, int]:
        probes = [probe for probe in await self._pool.probe() if probe.reachable]
        lists = await asyncio.gather(*(_loaded(probe, _CONTEXTS_TIMEOUT) for probe in probes))
        found: dict[str, int] = {}
        for probe, models in zip(probes, lists, strict=True):
            for model in models:
                length = model.get("context_length")
                if isinstance(length, int) and length > 0:
                    for name in _names(probe, model):
                        found[name] = min(length, found.get(name, length))
        return found

    async def _tags(self) -> Listed:
        return {"models": (await self.models())["models"]}

    async def _telling(self) -> Sequence[Probe]:
        """A look at each backend, of which one at least tells its models."""
        probes = await self._pool.probe()
        if not any(map(_tells, probes)):
            raise _why_none(probes)
        return probes

    async def _answering(self) -> list[Probe]:
        probes = await self._pool.probe()
        if not (answering := [probe for probe in probes if probe.reachable]):
            raise no_usable(probes)
        return answering

    async def _running(self) -> Listed:
        """The loaded models; a backend that does not tell in time is passed over."""
        probes = await self._answering()
        lists = await asyncio.gather(*map(_loaded, probes))
        return {"models": _merged(model for models in lists for model in models)}

    async def _version(self) -> Listed:
        """The oldest of the Ollamas' versions: what is promised must hold on each."""
        probes = await self._answering()
        versions = [probe.version if probe.backend.kind == "ollama" else SPOKEN_VERSION for probe in probes]
        return {"version": min(versions, key=_numbers)}

    async def _openai_model(self, name: str) -> Listed:
        for entry in (await self._openai_models())["data"]:
            if canonical(name) in map(canonical, listing.names_of(entry)):
                return dict(entry)
        raise BackendRejected(404, f"model '{name}' not found")

    async def _openai_models(self) -> Listed:
        described: dict[str, Mapping[str, Any]] = {}
        for probe in await self._telling():
            for model in probe.models:
                name = str(model.get("name", ""))
                described.setdefault(name, probe.backend.described(name) or openai_model(model))
        return {"object": "list", "data": self._aliases.listed(map(dict, described.values()), "id")}


def _tells(probe: Probe) -> bool:
    return probe.reachable and probe.lists


def _why_none(probes: Sequence[Probe]) -> AppError:
    """Why no backend tells its models."""
    silent = next((probe for probe in probes if probe.reachable), None)
    return no_usable(probes) if silent is None else BackendFailed(silent.error)


def openai_model(listed: Mapping[str, Any]) -> Listed:
    """An entry of `/api/tags` as one of `/v1/models`."""
    name = str(listed.get("name", ""))
    owner = name.rpartition("/")[0].rpartition("/")[2] or "library"
    return {"id": name, "object": "model", "created": _seconds(listed.get("modified_at")), "owned_by": owner}


def _merged(models: Iterable[Listed]) -> list[Listed]:
    merged: dict[str, Listed] = {}
    for model in models:
        merged.setdefault(str(model.get("name", "")), model)
    return list(merged.values())


async def _loaded(probe: Probe, seconds: float = _RUNNING_TIMEOUT) -> list[Listed]:
    try:
        async with asyncio.timeout(seconds):
            return await probe.backend.running()
    except (AppError, TimeoutError):
        return []


def _names(probe: Probe, model: Listed) -> set[str]:
    """All names of a model that a backend has loaded."""
    name = str(model.get("name", ""))
    return set(map(canonical, (name, *listing.names_of(probe.backend.described(name) or {}))))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.partition("-")[0].split("."))


def _seconds(moment: Any) -> int:
    """RFC 3339 as seconds since the epoch; Go's nine digits of a fraction are more than Python reads."""
    try:
        return int(datetime.fromisoformat(str(moment)).timestamp())
    except ValueError:
        return 0


def _allowed(listing: Listed, caller: Principal | None) -> Listed:
    """A list of Ollama's or of OpenAI's, with the caller's own models in it."""
    if caller is None or not caller.models:
        return listing
    allowed = {}
    for name, value in listing.items():
        is_list = name in {"models", "data"}
        allowed[name] = [model for model in value if caller.may_use(_name(model))] if is_list else value
    return allowed


def _name(model: Listed) -> str:
    return canonical(str(model.get("name") or model.get("id") or ""))


def _describe(probe: Probe, caller: Principal | None) -> Listed:
    described: Listed = {
        "url": probe.backend.address,
        "kind": probe.backend.kind,
        "reachable": probe.reachable,
        "version": probe.version,
        "latency_ms": round(probe.latency * 1000, 2),
        "models": [str(model.get("name", "")) for model in _allowed({"models": probe.models}, caller)["models"]],
    }
    told = {"error": probe.error, "note": probe.note}
    return {**described, **{name: sentence for name, sentence in told.items() if sentence}}
