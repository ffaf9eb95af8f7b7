"""Forwarding: what stays of a request that no backend is asked."""

from __future__ import annotations

from typing import Final

import pytest

from mlops_backend.errors import LimitExceeded
from mlops_backend.principal import ORDINARY, Limits, Principal
from mlops_backend.services.llm.asked import GENERATE, read_asked
from mlops_backend.services.llm.backends import BackendPool
from mlops_backend.services.llm.generation import Admission, Clocks
from mlops_backend.services.llm.generation.forwarding import Forwarder
from mlops_backend.services.llm.generation.metering import Held
from mlops_backend.services.llm.leases import Bounds, Leases
from mlops_backend.services.llm.pins import Pins
from mlops_backend.telemetry.record import RequestRecord

ASKED: Final = read_asked(GENERATE, "POST", "/api/generate", (), b'{"model": "llama3", "prompt": "Hi"}')


class Full:
    """A meter that has no room."""

    async def reserve(
        self, caller: Principal, prompt_tokens: int, max_tokens: int | None, answers: int = 1, end_user: str = ""
    ) -> Held:
        """Refuse."""
        raise LimitExceeded("There is no room.")


async def test_a_refused_request_leaves_no_prompt_in_its_record() -> None:
    """A record lives for as long as its connection."""
    record = RequestRecord("r", "POST")
    record.caller = Principal("a", "b", ORDINARY, limits=Limits(concurrent=1))
    forwarder = Forwarder(BackendPool(timeout=1), Leases(Bounds(1, 1, 1, 1)), Admission(), Full(), Clocks(1, 1), Pins())
    with pytest.raises(LimitExceeded):
        await forwarder.forward(ASKED, record)
    assert record.count_prompt is None
