"""A backend, and what its operator says of it."""

from __future__ import annotations

from dataclasses import dataclass

from mlops_backend.services.llm.backends.backend import Backend
from mlops_backend.setting_backends import Source


@dataclass(frozen=True, slots=True)
class Described:
    """One backend among the others.

    Attributes:
        backend: how it is asked.
        name: what it is called by administrators, in leases and in logs; no other is called so.
        most: generations that it takes at once; `None`: as many as come.
        weight: how much it takes, beside others.
        tags: words for whoever looks after it.
        source: where it is named.
    """

    backend: Backend
    name: str
    most: int | None = None
    weight: float = 1.0
    tags: tuple[str, ...] = ()
    source: Source = "settings"


def described(backend: Backend | Described) -> Described:
    """A backend of which nothing is said is called by its address."""
    return backend if isinstance(backend, Described) else Described(backend, backend.address)
