"""What is found becomes an event for each who may see it, once for all who see the same."""

from __future__ import annotations

import json
from typing import Any

from mlops_backend.principal import Principal, Scope
from mlops_backend.services.llm.leases import Place, Standing, View
from mlops_backend.services.other.live.events import Scene
from mlops_backend.services.other.live.failures import ALL
from mlops_backend.services.other.live.live import known_by
from mlops_backend.services.other.live.sources import MOST_RUNNING, Found

ADMIN = Principal("admin", "admin", frozenset({Scope.ADMIN}))
KEY = Principal("k", "k")


def running(number: int, key: str, **told: Any) -> dict[str, Any]:
    """A generation that runs."""
    return {"id": str(number), "key_id": key, "started_at": 0.0, "seconds": 1.0, "backend": "b", **told}


def heard(scene: Scene, principal: Principal, kind: str) -> Any:
    """The data of a kind."""
    return json.loads(scene.events(principal)[kind].data)


def test_nothing_is_told_of_what_nobody_knows_yet() -> None:
    """No empty list: a page would take it for the truth."""
    assert Scene(Found()).events(ADMIN) == {}
    failures = {ALL: [{"id": "x", "key_id": "k", "backend": "b"}]}
    seen = Scene(Found(running={ALL: []}, failures=failures)).events(KEY)
    assert seen.keys() == {"generations"}  # nobody has asked for this key's failures


def test_of_more_than_are_listed_a_keys_own_are_asked_for() -> None:
    """Those of all are not all: what one's own are is told by what was asked for it."""
    everything = [running(number, "other") for number in range(MOST_RUNNING)]
    assert "generations" not in Scene(Found(running={ALL: everything})).events(KEY)
    scene = Scene(Found(running={ALL: everything, "k": [running(-1, "k")]}))
    assert [each["id"] for each in heard(scene, KEY, "generations")["generations"]] == ["-1"]
    told = heard(scene, ADMIN, "generations")
    assert (told["count"], len(told["generations"])) == (MOST_RUNNING, 200)


def test_what_grows_by_itself_is_no_change() -> None:
    """The age of what runs and the wait of what waits; their numbers are."""

    def digests(seconds: float, count: int) -> list[str]:
        queue = View(count, [Place(False, 0, seconds, seconds, "k")] * count, [Standing("b", 1, 1, count)])
        scene = Scene(Found(queue, 9, {ALL: [running(1, "k", seconds=seconds)] * count}))
        return [scene.events(who)[kind].digest for who in (ADMIN, KEY) for kind in ("queue", "generations")]

    assert digests(1.0, 2) == digests(7.5, 2)
    assert not set(digests(1.0, 2)) & set(digests(1.0, 3))


def test_an_event_is_made_once_for_all_who_see_the_same() -> None:
    """And another one for who sees something else."""
    scene = Scene(Found(models=[({"name": "a:latest"}, True), ({"name": "b:latest"}, False)]))
    twin = Principal("twin", "another")
    narrow = Principal("k", "k", models=("a:*",))
    assert scene.events(KEY)["models"] is scene.events(twin)["models"]
    assert [each["name"] for each in heard(scene, narrow, "models")["models"]] == ["a:latest"]
    assert heard(scene, KEY, "models")["count"] == 2


def test_an_id_is_read_as_far_as_it_is_ours() -> None:
    """Whatever a client sends."""
    digest = "0123456789abcdef"
    assert known_by(f"queue-{digest}.models-{digest[::-1]}") == {"queue": digest, "models": digest[::-1]}
    assert known_by(f"queue-{digest}.nothing-{digest}.x.models-{digest}0") == {"queue": digest}
    assert known_by("queue-" + "0" * 16 + "." * 300) == {}
