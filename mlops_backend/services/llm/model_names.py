"""Names of models: which of them Ollama takes for the same model, and which it sends to somebody else's servers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final, Generic, TypeVar

from mlops_backend.config import ConfigError
from mlops_backend.errors import Forbidden
from mlops_backend.principal import Principal

_HOST: Final = "registry.ollama.ai"
_NAMESPACE: Final = "library"
# `:cloud`, or a tag that ends in `-cloud`; a digest or a second suffix may follow, and does not make it harmless.
_CLOUD: Final = re.compile(r":(?:[^/:@]*-)?cloud(?=$|[:@])")
# Names that were asked for, so that patterns are not gone through for each request.
_REMEMBERED: Final = 1000
# A client may write a name of a megabyte; a thousand of those are not to stay.
_SHORT_NAME: Final = 256
T = TypeVar("T")


def canonical(model: str) -> str:
    """One spelling for the names that Ollama takes for the same model: `LLAMA3` = `library/llama3:latest`."""
    name = model.strip().lower().rpartition("://")[2].removesuffix(":local")
    parts = name.split("/")
    if len(parts) == 3 and parts[0] == _HOST:
        parts = parts[1:]
    if len(parts) == 2 and parts[0] == _NAMESPACE:
        parts = parts[1:]
    return "/".join(parts) if ":" in parts[-1] else "/".join(parts) + ":latest"


def is_cloud(model: str) -> bool:
    """Whether Ollama would run it on ollama.com, with the account of the server's owner, listed or not."""
    return _CLOUD.search(model.strip().lower()) is not None


def allowed_default(model: str, *, allow_cloud: bool) -> str:
    """The model for requests that name none.

    Raises:
        ConfigError: each such request would be refused.
    """
    if is_cloud(model) and not allow_cloud:
        raise ConfigError("DEFAULT_MODEL: it is a cloud model, and ALLOW_CLOUD_MODELS is off")
    return model


class ByModel(Generic[T]):
    """What is said of models by patterns of their names; the first that fits a name counts.

    Args:
        told: patterns as the shell's, of a model's canonical name or of that without `:latest`, in any case.
    """

    def __init__(self, told: Iterable[tuple[str, T]]) -> None:
        self._told = [(pattern.lower(), what) for pattern, what in told]
        self._found: dict[str, T | None] = {}

    def __bool__(self) -> bool:
        """Whether anything is said."""
        return bool(self._told)

    def of(self, model: str) -> T | None:
        """What is said of a model; `None`: nothing."""
        if not self._told:
            return None
        if len(model) > _SHORT_NAME:
            return self._find(canonical(model))
        if model not in self._found:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[model] = self._find(canonical(model))
        return self._found[model]

    def _find(self, name: str) -> T | None:
        spellings = name, name.removesuffix(":latest")
        fitting = (what for pattern, what in self._told if any(fnmatchcase(each, pattern) for each in spellings))
        return next(fitting, None)


class ModelRules:
    """Which models may be named at all.

    Args:
        allow_cloud: `ALLOW_CLOUD_MODELS`.
    """

    def __init__(self, *, allow_cloud: bool) -> None:
        self._allow_cloud = allow_cloud

    def check(self, models: Sequence[str], caller: Principal | None, *, must_name: bool = True) -> None:
        """Let every one of `models` pass, or none.

        Args:
            models: every name that any backend might read from the request.
            caller: who asks; its key may have a list of models.
            must_name: whether such a key has to name one, since a backend would take one that is not read here.

        Raises:
            Forbidden: one of them runs in the cloud, and that is not allowed, or does not stand on the key's list.
        """
        if caller is not None and caller.models:
            _check_list(models, caller, must_name=must_name)
        if not self._allow_cloud and any(map(is_cloud, models)):
            raise Forbidden("Cloud models run on the account of this server's owner; ALLOW_CLOUD_MODELS is off.")


def _check_list(models: Sequence[str], caller: Principal, *, must_name: bool) -> None:
    if not models and must_name:
        raise Forbidden("This key is for certain models only, and the request names none that can be read.")
    if not all(caller.may_use(canonical(model)) for model in models):
        raise Forbidden("This key may not use this model.")
