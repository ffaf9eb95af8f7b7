"""Traces of a service of several processes: each sends its own, and one SIGTERM loses none."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.server_process import serving_process
from tests.fakes.collector import FakeCollector
from tests.fakes.ollama import FakeOllama

PROMPT: Final = {"model": "llama3", "prompt": "Hi", "stream": False}
# So many connections that each of two workers has some; each has one of its own.
MANY: Final = 200


@pytest.mark.long
async def test_each_worker_sends_its_own(fake: FakeOllama, tmp_path: Path) -> None:
    """Two instances under one name, and a span for every generation when all have ended."""
    async with FakeCollector() as collector:
        variables = {"WORKERS": "2", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "20"}
        async with serving_process(tmp_path, fake.url, **variables) as service:
            asked = 0
            async with service.client() as client:
                while asked < MANY and len({span.resource["service.instance.id"] for span in collector.spans}) < 2:
                    assert (await client.post("/api/generate", json=PROMPT)).status_code == 200
                    asked += 1
            service.signal(signal.SIGTERM)
            assert await service.ended() == 0
    assert len(collector.spans) == asked
    assert len({span.resource["service.instance.id"] for span in collector.spans}) == 2
    assert {span.resource["service.name"] for span in collector.spans} == {"mlops_backend"}
