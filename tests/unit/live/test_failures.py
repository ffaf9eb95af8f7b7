"""The generations that failed last, of each key and of all, in bounded memory."""

from __future__ import annotations

from typing import Any, Final

from mlops_backend.errors import Unavailable
from mlops_backend.services.other.live.failures import ALL, MOST, Failures, FailuresOfWorkers
from mlops_backend.services.other.usage import Noted
from mlops_backend.shared import Shared
from mlops_backend.workers.handlers import Handlers

_MOST_OF_KEY: Final = 20
_MOST_KEYS: Final = 500


def failed(number: int, key: str = "k", outcome: str = "error") -> Noted:
    """A generation that ended in the given second."""
    counts = {"tokens": 0, "prompt_tokens": 0, "completion_tokens": 0, "bytes_in": 0, "bytes_out": 0}
    told: dict[str, Any] = {name: "" for name in Noted._fields}
    told |= {**counts, "estimated": False, "first_byte": None, "total": 1.0, "passed_over": (), "status": 502}
    return Noted(**{**told, "id": f"{key}{number}", "started_at": number * 1000, "key_id": key, "outcome": outcome})


async def ids(failures: Failures, key: str) -> list[str]:
    """Those that are listed."""
    return [str(each["id"]) for each in (await failures.listed([key]))[key]]


async def test_what_is_the_clients_own_doing_is_none() -> None:
    """Refusals, and that it left or ended it."""
    failures = Failures()
    outcomes = ("done", "refused", "error", "client_gone", "timeout", "cancelled", "drained")
    for number, outcome in enumerate(outcomes):
        failures.note(failed(number, outcome=outcome))
    assert await ids(failures, "k") == ["k6", "k4", "k2"]


async def test_the_newest_are_kept_of_each_key_and_of_all() -> None:
    """However many another key has, and however many keys there are."""
    failures = Failures()
    failures.note(failed(0, "first"))
    failures.note(failed(1, "quiet"))
    for number in range(2, 2 + MOST):
        failures.note(failed(number, "loud"))
    assert await ids(failures, "quiet") == ["quiet1"]
    assert await ids(failures, "loud") == [f"loud{2 + MOST - 1 - place}" for place in range(_MOST_OF_KEY)]
    assert await ids(failures, ALL) == [f"loud{2 + MOST - 1 - place}" for place in range(MOST)]
    for number in range(_MOST_KEYS - 1):
        failures.note(failed(1000 + number, f"another-{number}-"))
    assert (await ids(failures, "first"), await ids(failures, "quiet")) == ([], [])
    assert len(await ids(failures, "loud")) == _MOST_OF_KEY


class Parent:
    """Asks another worker, unless it is away."""

    def __init__(self, other: Failures) -> None:
        self.other = other
        self.is_away = False

    async def ask(self, name: str, payload: Any = None) -> Any:
        """What the other one has."""
        if self.is_away:
            raise Unavailable("away")
        return [await self.other.listed(payload)]

    def tell(self, name: str, payload: Any = None) -> None:
        """Nothing is told."""


async def test_those_of_all_workers_are_told_together() -> None:
    """The newest first; of one that cannot be asked they are left out."""
    other = Failures()
    other.note(failed(2))
    parent = Parent(other)
    failures = FailuresOfWorkers(Shared(0, parent, Handlers()))
    failures.note(failed(1))
    failures.note(failed(3))
    assert await ids(failures, "k") == ["k3", "k2", "k1"]
    parent.is_away = True
    assert await ids(failures, "k") == ["k3", "k1"]
