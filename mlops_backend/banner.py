"""What a person sees when the service has started."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mlops_backend import __version__
from mlops_backend.config import PLACEHOLDER_KEY, Settings, key_source
from mlops_backend.services.llm.backends import Probe

_NAMED_MODELS: Final = 3
_NO_MODEL: Final = "no model yet; `ollama pull llama3.2` brings one"


def banner(
    settings: Settings, port: int, probes: Iterable[Probe], database_trouble: str = "", redis_trouble: str = ""
) -> str:
    """Address, backends, where the key is (never the key itself), the documentation, and what is wrong."""
    address = f"http://{_shown(settings.host)}:{port}"
    lines = [f"mlops_backend {__version__}", f"  address   {address}"]
    lines += [f"  backend   {_describe_backend(probe)}" for probe in probes]
    if settings.default_model:
        lines.append(f"  model     {settings.default_model}, unless a request names another")
    if database_trouble:
        lines.append(f"  database  DATABASE_URL: {' '.join(database_trouble.split())}")
    if redis_trouble:
        lines.append(f"  redis     REDIS_URL: {' '.join(redis_trouble.split())}")
    if settings.workers > 1:
        lines.append(f"  workers   {settings.workers} processes")
    lines.append(f"  key       {_describe_key(settings)}")
    if settings.console_enabled:
        lines.append(f"  console   {address}/console")
    if settings.docs_enabled:
        lines.append(f"  docs      {address}/docs")
    return "\n".join(lines)


def _describe_backend(probe: Probe) -> str:
    what = f"{probe.backend.address} ({probe.backend.kind} API)"
    if not probe.reachable:
        return f"{what}: not reachable. {probe.error}"
    names = [str(model.get("name", "")) for model in probe.models]
    more = ", …" if len(names) > _NAMED_MODELS else ""
    return f"{what}: {', '.join(names[:_NAMED_MODELS]) or probe.note or _NO_MODEL}{more}"


def _shown(host: str) -> str:
    if host in {"0.0.0.0", "::", ""}:
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _describe_key(settings: Settings) -> str:
    if settings.api_key.get_secret_value() == PLACEHOLDER_KEY:
        return "API_KEY is the placeholder, which works from this machine only; set a secret one"
    return f"API_KEY {key_source()}; send it as X-API-Key"
