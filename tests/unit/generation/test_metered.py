"""The end of a generation's block: what is settled, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from mlops_backend.errors import BackendFailed
from mlops_backend.services.llm import asked as tasks
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.generation.metering import Metered
from mlops_backend.telemetry.record import RequestRecord

ASKED = Asked(tasks.GENERATE, "POST", "/api/chat", (), b"{}")


class Room:
    """What a generation took; it remembers how it ended."""

    headers: Mapping[str, str] = {}
    output: int | None = None

    def __init__(self) -> None:
        self.ends: list[int | None] = []

    def settle(self, tokens: int) -> None:
        """It took so many."""
        self.ends.append(tokens)

    def release(self) -> None:
        """It took none."""
        self.ends.append(None)


@pytest.mark.parametrize(
    ("prompt", "completion", "settled"), [(None, None, 0), (3, None, 3), (None, 2, 2), (3, 2, 5)], ids=str
)
def test_tokens_that_nobody_knows_cost_nothing(prompt: int | None, completion: int | None, settled: int) -> None:
    """A backend's own refusal has none."""
    room, record = Room(), RequestRecord("r", "POST", upstream_url="http://b/api/chat")
    record.prompt_tokens, record.completion_tokens = prompt, completion
    with Metered(room, record, ASKED):
        pass
    assert room.ends == [settled]


def test_what_never_reached_a_backend_comes_back() -> None:
    """So does what a backend failed at before its first byte."""
    room = Room()
    with Metered(room, RequestRecord("r", "POST"), ASKED):
        pass
    with pytest.raises(BackendFailed), Metered(room, RequestRecord("r", "POST", upstream_url="http://b"), ASKED):
        raise BackendFailed("gone")
    assert room.ends == [None, None]
