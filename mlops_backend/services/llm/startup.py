"""Which backends a process uses: decided once, at start-up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from mlops_backend.config import DEFAULT_OLLAMA_URL, PLACEHOLDER_KEY, Settings
from mlops_backend.errors import AppError
from mlops_backend.services.llm.backends import AbsentOllama, Backend, Described, OllamaBackend
from mlops_backend.services.llm.embedded import EmbeddedBackend, Engine, EngineUnavailable
from mlops_backend.services.llm.upstream import Upstream

EMBEDDED_HOST: Final = "embedded.invalid"
_INSTALL_OLLAMA: Final = "Install and start Ollama (ollama.com) and run `ollama pull llama3.2`"


async def choose_backends(
    settings: Settings, named: Sequence[Described], upstream: Upstream, engine: Engine
) -> list[Described]:
    """The named ones; the embedded engine behind or instead of them as `EMBEDDED_ENGINE` says.

    `auto` starts the engine when no backend is named and no Ollama with a model answers at the default address.

    Args:
        settings: which engine is wanted, and which `Host` the default Ollama wants.
        named: the backends that the operator chose; none when only the default is left.
        upstream: the shared client.
        engine: the embedded one, not started yet.

    Raises:
        EngineUnavailable: `on`, and the engine cannot start.
    """
    _warn_of_open_doors(settings)
    host = settings.host_headers.get(DEFAULT_OLLAMA_URL, "")
    ollama = OllamaBackend(DEFAULT_OLLAMA_URL, upstream, host)
    if settings.embedded_engine == "off" or (settings.embedded_engine == "auto" and named):
        advice = f"{_INSTALL_OLLAMA}, or set EMBEDDED_ENGINE=auto."
        return [*named] or [_unnamed(AbsentOllama(DEFAULT_OLLAMA_URL, upstream, host, advice))]
    if settings.embedded_engine == "auto" and await engine.is_spared(others_serve=await _has_a_model(ollama)):
        return [_unnamed(ollama)]
    try:
        await engine.start()
    except EngineUnavailable as error:
        if settings.embedded_engine == "on":
            raise
        log = structlog.get_logger()
        log.warning("embedded_engine_unavailable", reason=str(error), instead=DEFAULT_OLLAMA_URL)
        log.debug("embedded_engine_said", last_words=error.details)
        advice = f"{_INSTALL_OLLAMA}, or mend the embedded engine. {error}"
        return [_unnamed(AbsentOllama(DEFAULT_OLLAMA_URL, upstream, host, advice))]
    return [*named, _unnamed(EmbeddedBackend(f"http://{EMBEDDED_HOST}", engine, upstream))]


def _unnamed(backend: Backend) -> Described:
    """One that the operator did not name is called by its address."""
    return Described(backend, backend.address)


async def _has_a_model(backend: Backend) -> bool:
    try:
        return bool(await backend.tags())
    except AppError:
        return False


def _warn_of_open_doors(settings: Settings) -> None:
    log = structlog.get_logger()
    if settings.api_key.get_secret_value() == PLACEHOLDER_KEY:
        log.warning("placeholder_key", advice="API_KEY is the public placeholder: it works from this machine only")
    if not settings.auth_enabled:
        log.warning("auth_disabled", advice="AUTH_ENABLED=false: anybody who reaches this address may infer")
