"""Other names for models, which the operator gave them: what a name stands for, and how it is listed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mlops_backend.config import ConfigError
from mlops_backend.services.llm.model_names import ByModel, canonical, is_cloud
from mlops_backend.setting_models import Alias

Listed = dict[str, Any]


class Aliases:
    """The names of `MODEL_ALIASES`: an exact one counts before a pattern, and of patterns the first that fits.

    A name stands for models and never for another name: what it stands for is looked up once.

    Args:
        aliases: as the operator wrote them.
        allow_cloud: `ALLOW_CLOUD_MODELS`.

    Raises:
        ConfigError: one stands for another one, or for a model that may not be named.
    """

    def __init__(self, aliases: Sequence[Alias] = (), *, allow_cloud: bool = False) -> None:
        self._exact = {canonical(alias.name): alias for alias in aliases if not alias.is_pattern}
        patterns = [(alias.name, alias) for alias in aliases if alias.is_pattern]
        self._aliases = ByModel([*self._exact.items(), *patterns])
        if len(self._exact) + len(patterns) < len(aliases):
            raise ConfigError("MODEL_ALIASES: two of its names are the same model's to Ollama")
        for alias in aliases:
            for model in alias.models:
                self._check(alias, model, allow_cloud)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._aliases)

    def models(self, name: str, share: Callable[[], float] = lambda: 0.0) -> tuple[str, ...]:
        """The models that a name stands for, in the order in which they are asked; none where it is no alias.

        Args:
            name: as the client said it.
            share: from 0 to 1, asked for where it decides; equal for what is to be answered by the same model.
        """
        alias = self._aliases.of(name)
        if alias is None:
            return ()
        return _drawn(alias, share()) if alias.shares else alias.models

    def told(self, name: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """The models that a name stands for as the operator wrote them, and their shares; none where it is no alias."""
        alias = self._aliases.of(name)
        return ((), ()) if alias is None else (alias.models, alias.shares)

    def first(self, name: str) -> str:
        """The model that a name stands for first of all, or the name itself."""
        return next(iter(self.models(name)), name)

    def listed(self, entries: Iterable[Listed], key: str) -> list[Listed]:
        """A list of models with a copy for each name of one that is in it; patterns cannot be listed.

        Args:
            entries: as `/api/tags` has them, or `/v1/models`.
            key: the member that names an entry.
        """
        found = {canonical(str(entry.get(key, ""))): entry for entry in entries}
        added = []
        for name, alias in self._exact.items():
            entry = next((found[wanted] for model in alias.models if (wanted := canonical(model)) in found), None)
            if entry is not None and name not in found:
                added.append({**entry, **{member: alias.name for member in (key, "model") if member in entry}})
        return [*found.values(), *added]

    def _check(self, alias: Alias, model: str, allow_cloud: bool) -> None:
        if is_cloud(model) and not allow_cloud:
            raise ConfigError(f"MODEL_ALIASES: {model} is a cloud model, and ALLOW_CLOUD_MODELS is off")
        name = canonical(model)
        if name in self._exact and name not in map(canonical, self._exact[name].models):
            raise ConfigError(f"MODEL_ALIASES: {alias.name} stands for {model}, which is one of these names itself")


def _drawn(alias: Alias, share: float) -> tuple[str, ...]:
    """The model whose share it falls into, then the others, those with more before those with less."""
    left = share * sum(alias.shares)
    weighed = list(zip(alias.models, alias.shares, strict=True))
    chosen = alias.models[-1]
    for model, weight in weighed:
        if left < weight:
            chosen = model
            break
        left -= weight
    others = sorted((pair for pair in weighed if pair[0] != chosen), key=lambda pair: -pair[1])
    return (chosen, *(model for model, _ in others))
