"""The queue as JSON tells it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlops_backend.services.llm.leases.lessor import Bounds, Place, View


def told_queue(seen: View, bounds: Bounds, key: str, *, everything: bool) -> dict[str, Any]:
    """The queue in numbers and a key's own places; with `everything` also who else waits, and for what.

    Args:
        seen: with the places of that key at least; with `everything` those of all.
        bounds: of the queue.
        key: whose own places are told.
        everything: for an administrator.
    """
    told: dict[str, Any] = {
        "running": sum(backend.taken for backend in seen.backends),
        "waiting": seen.waiting,
        "max_waiting": bounds.waiting,
        "own": [
            {
                "class": _class(place),
                "ahead": place.ahead,
                "waited_seconds": round(place.waited, 3),
                "expected_seconds": round(place.expected, 3),
            }
            for place in seen.of(key)
        ],
    }
    if everything:
        told["waiting_by"] = _by_key(seen.places)
        told["backends"] = [
            {"name": each.name, "running": each.taken, "max_concurrency": each.most, "waiting": each.waiting}
            for each in seen.backends
        ]
    return told


def _by_key(places: Iterable[Place]) -> list[dict[str, Any]]:
    """How many of each key and class wait, those with most first."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for place in places:
        of_class = _class(place)
        none = {"key_id": place.key, "class": of_class, "waiting": 0, "longest_waited_seconds": 0.0}
        group = groups.setdefault((place.key, of_class), none)
        group["waiting"] += 1
        group["longest_waited_seconds"] = max(group["longest_waited_seconds"], round(place.waited, 3))
    return sorted(groups.values(), key=lambda group: (-group["waiting"], group["key_id"], group["class"]))


def _class(place: Place) -> str:
    return "batch" if place.batch else "interactive"
