"""Which backends a process uses: decided once, at start-up."""

from __future__ import annotations

from typing import Final

import structlog

from mlops_backend.config import DEFAULT_OLLAMA_URL, PLACEHOLDER_KEY, Settings
from mlops_backend.errors import AppError
from mlops_backend.services.llm.backends import AbsentOllama, Backend, OllamaBackend, OpenAIBackend
from mlops_backend.services.llm.embedded import EmbeddedBackend, Engine, EngineUnavailable
from mlops_backend.services.llm.upstream import Upstream

EMBEDDED_HOST: Final = "embedded.invalid"
_INSTALL_OLLAMA: Final = "Install and start Ollama (ollama.com) and run `ollama pull llama3.2`"


async def choose_backends(settings: Settings, upstream: Upstream, engine: Engine) -> list[Backend]:
    """The named ones, Ollamas first; the embedded engine beside or instead of them as `EMBEDDED_ENGINE` says.

    `auto` starts the engine when no backend is named and no Ollama with a model answers at the default address.

    Raises:
        EngineUnavailable: `on`, and the engine cannot start.
    """
    _warn_of_open_doors(settings)
    named = _named(settings, upstream)
    host = settings.host_headers.get(DEFAULT_OLLAMA_URL, "")
    ollama = OllamaBackend(DEFAULT_OLLAMA_URL, upstream, host)
    if settings.embedded_engine == "off" or (settings.embedded_engine == "auto" and named):
        return named or [
            AbsentOllama(DEFAULT_OLLAMA_URL, upstream, host, f"{_INSTALL_OLLAMA}, or set EMBEDDED_ENGINE=auto.")
        ]
    if settings.embedded_engine == "auto" and await engine.is_spared(others_serve=await _has_a_model(ollama)):
        return [ollama]
    try:
        await engine.start()
    except EngineUnavailable as error:
        if settings.embedded_engine == "on":
            raise
        log = structlog.get_logger()
        log.warning("embedded_engine_unavailable", reason=str(error), instead=DEFAULT_OLLAMA_URL)
        log.debug("embedded_engine_said", last_words=error.details)
        advice = f"{_INSTALL_OLLAMA}, or mend the embedded engine. {error}"
        return [AbsentOllama(DEFAULT_OLLAMA_URL, upstream, host, advice)]
    return [*named, EmbeddedBackend(f"http://{EMBEDDED_HOST}", engine, upstream)]


def _named(settings: Settings, upstream: Upstream) -> list[Backend]:
    """The backends that the operator chose; none when only the default is left."""
    urls = settings.ollama_base_url if settings.ollama_is_named else ()
    ollamas = [OllamaBackend(url, upstream, settings.host_headers.get(url, "")) for url in urls]
    capable = settings.model_capabilities
    servers = (
        OpenAIBackend(each.url, upstream, capable, each.models, counts=each.counts) for each in settings.openai_backends
    )
    return [*ollamas, *servers]


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
