"""What monitoring is told."""

from __future__ import annotations

from tests.e2e.test_resources import eventually
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, Service


async def test_monitoring_reads_numbers(service: Service, fake: FakeOllama) -> None:
    """In Prometheus's text format, with the administrator's key alone, and without a label from a client."""
    await service.client.post("/api/generate", json={"model": "llama3", "prompt": "a b", "stream": False})
    assert (await service.client.get("/metrics")).status_code == 403

    async def numbers() -> dict[str, float]:
        answer = await service.stranger.get("/metrics", headers={"X-API-Key": ADMIN_KEY})
        assert answer.headers["content-type"].startswith("text/plain; version=")
        lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.split(" ") for line in lines)}

    told = await numbers()
    assert told["mlops_ledger_waiting"] + told["mlops_ledger_written_total"] == 1
    assert (told["mlops_database_up"], told["mlops_redis_up"], told["mlops_generations_running"]) == (1, 1, 0)
    assert not any("{" in name for name in told)
    await eventually(lambda: b"ledger_written_total 1.0" in metrics_of(service), 2)


async def test_nothing_that_is_counted_is_kept_back(service: Service) -> None:
    """Operators have alarms on these: one that is no longer told never rings."""
    told = metrics_of(service).decode()
    names = {line.partition(" ")[0] for line in told.splitlines() if not line.startswith("#")}
    assert names >= {
        *(f"mlops_{name}" for name in ("body_bytes", "database_up", "database_writable", "generations_running")),
        *(
            f"mlops_{name}"
            for name in ("ledger_waiting", "redis_up", "replies_waiting", "settlements_waiting", "workers")
        ),
        *(f"mlops_{name}_total" for name in ("ledger_dropped", "ledger_written", "log_lines_dropped")),
        *(
            f"mlops_{name}_total"
            for name in ("limits_refused", "limits_unchecked", "replies_lost", "settlements_dropped")
        ),
    }


def metrics_of(service: Service) -> bytes:
    """The same without a request."""
    from mlops_backend.telemetry.metrics import Metrics

    return service.services.get(Metrics).text()
