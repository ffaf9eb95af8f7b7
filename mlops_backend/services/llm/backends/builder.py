"""Builds backends from what the operator says of them, each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from mlops_backend.services.llm.backends.backend import Backend
from mlops_backend.services.llm.backends.described import Described
from mlops_backend.services.llm.backends.ollama import OllamaBackend
from mlops_backend.services.llm.backends.openai import OpenAIBackend
from mlops_backend.services.llm.backends.openai_address import openai_places
from mlops_backend.services.llm.upstream import Upstream
from mlops_backend.setting_backends import BackendSetting
from mlops_backend.telemetry.redaction import learn

Capabilities = Mapping[str, frozenset[str]]
_NOBODY_SAYS: Final[Capabilities] = {}


class BackendBuilder:
    """Builds them; one that is asked in the same way as before is the same object, with all that it has learnt.

    Args:
        upstream: the shared client.
        capabilities: what models can do whatever their server, where nothing is said beside the server.
    """

    def __init__(self, upstream: Upstream, capabilities: Capabilities = _NOBODY_SAYS) -> None:
        self._upstream = upstream
        self._capabilities = capabilities
        self._built: dict[BackendSetting, Backend] = {}

    def build(self, settings: Iterable[BackendSetting]) -> list[Described]:
        """All of them, in their order; those of the call before that are not among them are forgotten."""
        settings = list(settings)
        learn(each.key for each in settings)
        connections = {each.connection for each in settings}
        self._built = {each: self._built.get(each) or self._backend(each) for each in connections}
        called: Counter[str] = Counter()
        found = []
        for each in settings:
            backend = self._built[each.connection]
            name = each.name or backend.address
            called[name] += 1
            if called[name] > 1:  # two addresses that differ in what is masked
                name = f"{name} ({called[name]})"
            found.append(Described(backend, name, each.most, each.weight, each.tags, each.source))
        return found

    def _backend(self, asked: BackendSetting) -> Backend:
        if asked.kind == "ollama":
            return OllamaBackend(asked.url, self._upstream, asked.host_header, asked.key)
        own = dict(asked.capabilities)
        capabilities = own | {model: can for model, can in self._capabilities.items() if model not in own}
        places = openai_places(asked.url, asked.host_header, asked.key)
        return OpenAIBackend(asked.url, self._upstream, capabilities, asked.models, places, counts=asked.counts)
