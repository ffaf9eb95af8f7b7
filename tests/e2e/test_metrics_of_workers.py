"""One scrape has the numbers of all workers, and they are those of the ledger and of the backend."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.server_process import serving_process
from tests.fakes.ollama import FakeOllama
from tests.fakes.ollama_routes import INFERENCE, route_of

GENERATIONS = 120
MISSING = 20


async def scraped(client: httpx.AsyncClient) -> dict[str, float]:
    """Sums by the names of numbers, and by name and model."""
    told: dict[str, float] = {}
    for family in text_string_to_metric_families((await client.get("/metrics")).text):
        for sample in family.samples:
            for name in {sample.name, f"{sample.name} {sample.labels.get('model', '')}".strip()}:
                told[name] = told.get(name, 0) + sample.value
    return told


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.long), "2"])
async def test_a_scrape_agrees_with_the_ledger_and_the_backend(fake: FakeOllama, tmp_path: Path, workers: str) -> None:
    """Exactly, whichever worker answers it."""
    variables = {"WORKERS": workers, "LOG_LEVEL": "WARNING"}
    async with serving_process(tmp_path, fake.url, **variables) as service, service.client() as client:

        async def one(number: int) -> int:
            body: dict[str, Any] = {"model": "llama3" if number >= MISSING else f"m{number}", "prompt": "a b c"}
            return (await client.post("/api/generate", json={**body, "stream": number % 2 == 0})).status_code

        statuses = await asyncio.gather(*map(one, range(GENERATIONS)))
        assert statuses.count(404) == MISSING
        async with asyncio.timeout(20):
            while (told := await scraped(client))["mlops_ledger_written_total"] < GENERATIONS:
                await asyncio.sleep(0.05)
        usage = (await client.get("/api/admin/usage")).json()["total"]
        again = await scraped(client)
    asked = sum(route_of(request.path)[0] in INFERENCE for request in fake.requests)
    for name, expected in (
        ("mlops_workers", int(workers)),
        ("mlops_generations_total", GENERATIONS),
        ("mlops_generations_total other", MISSING),
        ("mlops_generations_total llama3", GENERATIONS - MISSING),
        ("gen_ai_server_request_duration_seconds_count", GENERATIONS),
        ("mlops_tokens_total", usage["prompt_tokens"] + usage["completion_tokens"]),
        ("gen_ai_client_token_usage_sum", usage["total_tokens"]),
        ("mlops_build_info", 1),
    ):
        assert (told[name], again[name]) == (expected, expected), name
    assert asked == usage["generations"] == GENERATIONS
