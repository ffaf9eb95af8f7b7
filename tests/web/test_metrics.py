"""What monitoring is told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families

from mlops_backend.services.llm.generation import Breakers
from mlops_backend.services.other.usage import Ledger
from mlops_backend.telemetry.generation_metrics import MOST_KEYS, MOST_MODELS, GenerationMetrics
from mlops_backend.telemetry.metrics import Bounded, Metrics
from mlops_backend.telemetry.record import RequestRecord
from tests.conftest import ServeFactory
from tests.e2e.page_blocks import read_blocks
from tests.e2e.test_resources import eventually
from tests.fakes.ollama import FakeOllama
from tests.fakes.ollama_routes import INFERENCE, route_of
from tests.service import ADMIN_KEY, Service
from tests.web.dialects.drop_in_families import FAMILIES

# What a Prometheus 2.53 or newer sends.
OF_PROMETHEUS: Final = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMPT: Final[dict[str, Any]] = {"model": "llama3", "prompt": "Hi"}
Numbers = dict[str, float]


async def scraped(service: Service, key: str = ADMIN_KEY, accept: str = "text/plain") -> Numbers:
    """All numbers by their names and labels."""
    answer = await service.stranger.get("/metrics", headers={"X-API-Key": key, "Accept": accept})
    assert answer.status_code == 200, answer.text
    is_open = answer.headers["content-type"].startswith("application/openmetrics-text")
    families = (open_families if is_open else text_string_to_metric_families)(answer.text)
    return {_written(sample.name, sample.labels): sample.value for family in families for sample in family.samples}


async def told_once(service: Service, wanted: Callable[[Numbers], bool]) -> Numbers:
    """The numbers once they are as wanted: a request counts at its end, which is behind its answer."""
    async with asyncio.timeout(20):
        while not wanted(told := await scraped(service)):
            await asyncio.sleep(0.01)
    return told


def _written(name: str, labels: Mapping[str, str]) -> str:
    return name + "".join(f" {label}={value}" for label, value in sorted(labels.items()))


def together(told: Numbers, name: str) -> float:
    """The sum of all numbers of that name."""
    return sum(value for each, value in told.items() if each.split(" ")[0] == name)


async def test_monitoring_reads_numbers(service: Service, fake: FakeOllama) -> None:
    """With the administrator's key, and not with an ordinary one."""
    await service.client.post("/api/generate", json={**PROMPT, "stream": False})
    assert (await service.client.get("/metrics")).status_code == 403
    told = await told_once(service, lambda told: told["mlops_ledger_waiting"] + told["mlops_ledger_written_total"] == 1)
    assert (told["mlops_database_up"], told["mlops_redis_up"], told["mlops_generations_running"]) == (1, 1, 0)
    assert told[f"mlops_backend_up backend={fake.url}"] == 1
    await eventually(lambda: b"ledger_written_total 1.0" in service.services.get(Metrics).encoded()[0])


async def test_a_key_of_its_own_may_read_them_and_nothing_else(service: Service) -> None:
    """So that the monitoring needs no administrator's key."""
    made = await service.stranger.post(
        "/api/admin/keys", json={"name": "prometheus", "scopes": ["metrics:read"]}, headers={"X-API-Key": ADMIN_KEY}
    )
    key = made.json()["key"]
    assert (await scraped(service, key))["mlops_workers"] == 1
    bearer = {"Authorization": f"Bearer {key}"}
    assert (await service.stranger.get("/metrics", headers=bearer)).status_code == 200
    for path in ("/api/tags", "/api/usage", "/api/admin/keys"):
        assert (await service.stranger.get(path, headers=bearer)).status_code == 403
    assert (await service.stranger.post("/api/generate", json=PROMPT, headers=bearer)).status_code == 403


async def test_the_page_says_how_a_prometheus_asks(service: Service) -> None:
    """Its job is one that Prometheus takes, and a key in that file is sent as a bearer's."""
    (job,) = yaml.safe_load(read_blocks()["metrics-scrape"].text)["scrape_configs"]
    assert job.keys() == {"job_name", "authorization", "static_configs"}
    assert job["authorization"].keys() == {"credentials_file"}
    answer = await service.stranger.get("/metrics", headers={"Authorization": f"Bearer {ADMIN_KEY}"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8"),
        (OF_PROMETHEUS, "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"),
    ],
)
async def test_the_scraper_says_which_format_it_reads(service: Service, accept: str, kind: str) -> None:
    """And gets that one, with the same numbers in it."""
    answer = await service.stranger.get("/metrics", headers={"X-API-Key": ADMIN_KEY, "Accept": accept})
    assert answer.headers["content-type"] == kind
    assert (await scraped(service, accept=accept)).keys() >= {"mlops_ledger_waiting", "mlops_workers"}


async def test_numbers_agree_with_the_ledger_and_the_backend(service: Service, fake: FakeOllama) -> None:
    """Exactly: generations by outcome, and tokens."""
    for family in FAMILIES.values():
        for body in (family.streamed, family.whole):
            assert (await service.client.post(family.path, json=body)).status_code == 200
    for _ in range(3):
        await service.client.post("/api/generate", json={**PROMPT, "model": "not-there"})
    await eventually(lambda: service.services.get(Ledger).written == 2 * len(FAMILIES) + 3)
    told = await scraped(service)
    asked = sum(route_of(request.path)[0] in INFERENCE for request in fake.requests)
    usage = (await service.client.get("/api/usage")).json()["total"]
    done = 2 * len(FAMILIES)
    assert together(told, "mlops_generations_total") == asked == usage["generations"] == done + 3
    assert told["mlops_generations_total model=llama3 outcome=done"] == done
    assert told["mlops_generations_total model=other outcome=refused"] == 3
    assert told["mlops_key_generations_total key_id=settings:tester outcome=done"] == done
    assert told["mlops_tokens_total model=llama3 type=prompt"] == usage["prompt_tokens"]
    assert told["mlops_tokens_total model=llama3 type=completion"] == usage["completion_tokens"]
    assert told["mlops_requests_total method=POST route=/api/generate status=404"] == 3
    assert together(told, "gen_ai_server_request_duration_seconds_count") == asked
    assert together(told, "gen_ai_server_time_to_first_token_seconds_count") == len(FAMILIES)
    assert together(told, "gen_ai_client_token_usage_sum") == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_a_hostile_client_does_not_make_numbers(service: Service) -> None:
    """Models that are not there, methods that are none and paths that lead nowhere are told together."""
    ask = service.client
    for name in ("x", "y"):
        await ask.post("/api/generate", json={**PROMPT, "model": name})
        await ask.get(f"/nowhere/{name}")
        await ask.request("SEARCH", f"/api/tags/{name}")
    before = await told_once(service, lambda told: together(told, "mlops_requests_total") >= 6)
    for number in range(30):
        await ask.post("/api/generate", json={**PROMPT, "model": f"x{number}"})
        await ask.get(f"/nowhere/{number}")
        await ask.request(f"X{number}", f"/api/tags/{number}")
    after = await told_once(service, lambda told: together(told, "mlops_requests_total") >= 96)
    grown = after.keys() - before.keys()
    assert all("route=/metrics" in name for name in grown), grown


def test_a_hundred_thousand_names_and_keys_reach_their_bounds() -> None:
    """And no further, also where all of them are real."""
    metrics = Metrics()
    counted = GenerationMetrics(metrics)
    for number in range(100_000):
        record = RequestRecord(f"{number}", "POST", route="/api/chat", generates=True, model=f"m{number}", status=200)
        record.outcome = "done" if number % 2 else "error"
        counted.note(record, record.started + 1)
    names = re.findall(r"mlops_generations_total\{model=\"([^\"]+)\"", metrics.encoded()[0].decode())
    assert len(set(names)) == MOST_MODELS + 1
    keys = Bounded(MOST_KEYS)
    assert len({keys.of(f"key{number}") for number in range(100_000)}) == MOST_KEYS + 1


async def test_what_was_refused_is_counted_by_its_code(serve: ServeFactory, fake: FakeOllama) -> None:
    """And who holds a slot is seen while he holds it."""
    async with serve(fake.url, max_concurrency=1, queue_timeout=0.05) as service:
        fake.hold()
        running = asyncio.create_task(service.client.post("/api/generate", json=PROMPT))
        await fake.wait_until(lambda: fake.active == 1)
        await service.client.post("/api/generate", json=PROMPT)
        told = await told_once(service, lambda told: "mlops_errors_total code=queue_timeout" in told)
        fake.release()
        await running
    assert told["mlops_errors_total code=queue_timeout"] == 1
    assert told[f"mlops_backend_leases backend={fake.url}"] == 1
    assert told[f"mlops_backend_slots backend={fake.url}"] == 1


async def test_a_backend_that_is_passed_over_is_counted(serve: ServeFactory, fake: FakeOllama) -> None:
    """One for each that was."""
    async with FakeOllama() as gone:
        async with serve(gone.url, fake.url) as service:
            await service.client.get("/api/llm/models")
            await gone.stop()
            for number in range(20):
                asked = {**PROMPT, "prompt": f"{number} is a number"}
                assert (await service.client.post("/api/generate", json=asked)).status_code == 200
            told = await told_once(service, lambda told: together(told, "mlops_requests_total") >= 21)
        await gone.start()
    assert told["mlops_retries_total"] >= 1


async def test_a_backend_that_is_left_alone_is_seen(service: Service, fake: FakeOllama) -> None:
    """Its breaker is closed, open, and closed again."""
    breaker = service.services.get(Breakers)[fake.url]
    seen = [(await scraped(service))[f"mlops_backend_breaker backend={fake.url}"]]
    changes: tuple[Callable[[], None], ...] = (partial(breaker.tripped, 30.0, 1), breaker.reset)
    for change in changes:
        change()
        seen.append((await scraped(service))[f"mlops_backend_breaker backend={fake.url}"])
    assert seen == [0, 2, 0]


def test_a_number_has_one_owner() -> None:
    """A second one of the same name would be told twice."""
    metrics = Metrics()
    metrics.gauge("one", "One.", lambda: 1)
    with pytest.raises(ValueError, match="mlops_one"):
        metrics.gauge("one", "One.", lambda: 1)
