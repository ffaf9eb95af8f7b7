"""Metrics at a port of their own, of one process and of workers."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from mlops_backend.address import listen
from tests.e2e.server_process import KEY, serving_process
from tests.fakes.ollama import FakeOllama


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.long), "2"])
async def test_metrics_are_at_their_port_and_nothing_else_is(fake: FakeOllama, tmp_path: Path, workers: str) -> None:
    """Whatever path leads there; a key is asked for as ever."""
    bound = listen("127.0.0.1", 0)
    port = bound.getsockname()[1]
    bound.close()
    variables = {"WORKERS": workers, "METRICS_PORT": str(port), "KEY_IN_URL": "true", "ROOT_PATH": "/llm"}
    async with serving_process(tmp_path, fake.url, **variables) as service, service.client() as client:
        beside = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, headers=client.headers)
        async with beside:
            told = (await beside.get("/metrics")).text
            assert f"mlops_workers {workers}.0" in told
            assert (await beside.get("/llm/metrics")).status_code == 200
            assert (await beside.get("/metrics", headers={"X-API-Key": "wrong"})).status_code == 401
            for path in ("/health", "/api/tags", "/docs", "/"):
                assert (await beside.get(path)).status_code == 404, path
            assert (await beside.post("/api/generate", json={"model": "llama3"})).status_code == 404
        for path in ("/metrics", "/llm/metrics", f"/k/{KEY}/metrics", "/metrics/"):
            answer = await client.get(path)
            assert answer.status_code in {401, 404}, path
            assert "mlops_workers" not in answer.text
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/api/tags")).status_code == 200
    assert "/api/generate" not in [request.path for request in fake.requests]


async def test_a_port_that_is_taken_is_named(fake: FakeOllama, tmp_path: Path) -> None:
    """By its own setting, before anything is served."""
    taken = listen("127.0.0.1", 0)
    taken.listen(1)
    try:
        with pytest.raises(AssertionError, match="METRICS_PORT"):
            async with serving_process(tmp_path, fake.url, METRICS_PORT=str(taken.getsockname()[1])):
                raise RuntimeError("it was served")
    finally:
        taken.close()
