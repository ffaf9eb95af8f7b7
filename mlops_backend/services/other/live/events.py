"""What is found as events, for each who listens what may be seen."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from mlops_backend.principal import Principal, Scope
from mlops_backend.services.llm.dialects import dumped
from mlops_backend.services.llm.generation import told_generation
from mlops_backend.services.llm.leases import Bounds, told_queue
from mlops_backend.services.llm.model_names import canonical
from mlops_backend.services.other.live.failures import ALL
from mlops_backend.services.other.live.sources import MOST_RUNNING, Found

# These grow by themselves: an event is not sent for them.
_GROWING: Final = frozenset({"seconds", "waited_seconds", "expected_seconds", "longest_waited_seconds", "latency_ms"})
_MOST_TOLD: Final = 200
_MOST_MODELS: Final = 2000
_DIGEST: Final = 8
_Told = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """One kind's present state; of two that have the same digest nothing has changed."""

    digest: str
    data: bytes


class Scene:
    """What one look has found, as those who listen may see it; each event is made once for all who see the same.

    Args:
        found: what there is.
    """

    def __init__(self, found: Found) -> None:
        self._found = found
        self._made: dict[tuple[str, Hashable], Event | None] = {}

    def events(self, principal: Principal) -> Mapping[str, Event]:
        """Each kind that is known and that a key may see."""
        seen = {kind: self._event(kind, principal) for kind, (scope, *_) in KINDS.items() if principal.has(scope)}
        return {kind: event for kind, event in seen.items() if event is not None}

    def _event(self, kind: str, principal: Principal) -> Event | None:
        _, tell, sees = KINDS[kind]
        audience = kind, sees(principal)
        if audience not in self._made:
            told = tell(self._found, principal)
            self._made[audience] = None if told is None else Event(_digest(told), dumped(told))
        return self._made[audience]


def _queue(found: Found, principal: Principal) -> _Told | None:
    if found.queue is None:
        return None
    bounds = Bounds(found.max_waiting, 0, 0, 0)
    return told_queue(found.queue, bounds, principal.id, everything=principal.admin)


def _generations(found: Found, principal: Principal) -> _Told | None:
    if found.running is None:
        return None
    own = found.running.get(ALL if principal.admin else principal.id)
    if own is None and len(found.running[ALL]) < MOST_RUNNING:
        own = [each for each in found.running[ALL] if each["key_id"] == principal.id]
    if own is None:
        return None
    told = [told_generation(each, everything=principal.admin) for each in own[:_MOST_TOLD]]
    return {"generations": told, "count": len(own)}


def _errors(found: Found, principal: Principal) -> _Told | None:
    own = None if found.failures is None else found.failures.get(ALL if principal.admin else principal.id)
    if own is None:
        return None
    return {"errors": [_without_backend(each) if not principal.admin else dict(each) for each in own]}


def _without_backend(failure: Mapping[str, Any]) -> _Told:
    return {name: value for name, value in failure.items() if name != "backend"}


def _backends(found: Found, _: Principal) -> _Told | None:
    return None if found.backends is None else dict(found.backends)


def _models(found: Found, principal: Principal) -> _Told | None:
    if found.models is None:
        return None
    mine = [(model, loaded) for model, loaded in found.models if principal.may_use(canonical(_name(model)))]
    told = [
        {"name": _name(model), "digest": str(model.get("digest", "")), "loaded": loaded}
        for model, loaded in mine[:_MOST_MODELS]
    ]
    return {"models": told, "count": len(mine)}


def _name(model: Mapping[str, Any]) -> str:
    return str(model.get("name", ""))


def _own(principal: Principal) -> Hashable:
    return principal.id, principal.admin


def _list(principal: Principal) -> Hashable:
    return tuple(principal.models)


_Kind = tuple[Scope, Callable[[Found, Principal], _Told | None], Callable[[Principal], Hashable]]
# What a key needs for each kind is what it needs for the route that tells the same; last what is equal for all who are
# told the same.
KINDS: Final[Mapping[str, _Kind]] = {
    "queue": (Scope.INFERENCE, _queue, _own),
    "generations": (Scope.INFERENCE, _generations, _own),
    "backends": (Scope.ADMIN, _backends, _own),
    "errors": (Scope.USAGE_READ, _errors, _own),
    "models": (Scope.MODELS_READ, _models, _list),
}


def _digest(told: _Told) -> str:
    return blake2b(dumped(_still(told)), digest_size=_DIGEST).hexdigest()


def _still(told: Mapping[str, Any]) -> _Told:
    """The same without what grows by itself."""
    return {name: _still_value(value) for name, value in told.items() if name not in _GROWING}


def _still_value(value: object) -> object:
    if isinstance(value, Mapping):
        return _still(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_still_value(each) for each in value]
    return value
