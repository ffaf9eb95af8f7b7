"""The dashboard and the alerts in `deploy/` ask for what `/metrics` tells, and see it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from mlops_backend.address import listen_or_say
from mlops_backend.services.other.limits import Standing
from mlops_backend.services.other.usage.budget_use import BudgetUse
from tests.e2e.processes import REPOSITORY
from tests.e2e.server_process import KEY, ServerProcess, serving_process
from tests.fakes.ollama import FakeOllama

DEPLOY: Final = REPOSITORY / "deploy"
DASHBOARD: Final = DEPLOY / "grafana" / "mlops_backend.json"
RULES: Final = DEPLOY / "prometheus" / "rules.yml"
_METRIC: Final = re.compile(r"\b((?:mlops|gen_ai)_\w+)(?=[\s{)\[]|$)")
_LABELS: Final = re.compile(r"\bby \(([^)]*)\)|(\w+)=~?\"")
# What Prometheus adds to everything.
_ITS_OWN: Final = {"job", "instance", "le"}
PROMPT: Final[dict[str, Any]] = {"prompt": "a b c"}


def panels() -> Mapping[str, list[str]]:
    """The queries of each panel by its title."""
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    shown = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    queries = {panel["title"]: [target["expr"] for target in panel["targets"]] for panel in shown}
    assert len(queries) == len(shown), "two panels have one title"
    return queries


def alerts() -> Mapping[str, str]:
    """The query of each alert by its name."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


@asynccontextmanager
async def busy(tmp_path: Path, fake: FakeOllama) -> AsyncIterator[tuple[ServerProcess, httpx.AsyncClient]]:
    """A service that has something to tell: generations by a key with a budget, streams, errors, one passed over."""
    gone = FakeOllama()
    await gone.start()
    urls = f"{gone.url},{fake.url}"
    async with serving_process(tmp_path, urls, MAX_CONCURRENCY="4") as service, service.client() as client:
        await client.get("/api/llm/models")
        await gone.stop()
        limits = {"tokens_per_day": 100_000, "tokens_per_month": 1_000_000}
        made = await client.post("/api/admin/keys", json={"name": "busy", "limits": limits})
        key = {"X-API-Key": made.json()["key"]}
        for number in range(12):
            prompt = f"{number} is a number"
            body = {"model": "llama3", "prompt": prompt, "stream": number % 2 == 0}
            assert (await client.post("/api/generate", json=body, headers=key)).status_code == 200
        await client.post("/api/generate", json={**PROMPT, "model": "not-there"}, headers={"X-API-Key": "wrong"})
        async with asyncio.timeout(30):  # a request counts at its end, which is behind its answer
            while "mlops_errors_total{" not in (await client.get("/metrics")).text:
                await asyncio.sleep(0.05)
        yield service, client


async def test_every_query_asks_for_what_is_told(tmp_path: Path, fake: FakeOllama) -> None:
    """Numbers and labels: a name that is written wrong shows nothing, for ever."""
    async with busy(tmp_path, fake) as (_, client):
        text = (await client.get("/metrics")).text
    names, labels = set(), set(_ITS_OWN)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            names.add(sample.name)
            labels |= sample.labels.keys()
    queries = [*alerts().values(), *(query for each in panels().values() for query in each)]
    for query in queries:
        asked = set(_METRIC.findall(re.sub(r"\bby \([^)]*\)", "", query)))
        assert asked or query.startswith("up{"), query
        assert asked <= names, query
        by = {label.strip() for found in _LABELS.findall(query) for label in ",".join(found).split(",")} - {""}
        assert by <= labels, query


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool, of Prometheus's package, is not installed")
async def test_alerts_ring_when_they_are_to_and_never_else() -> None:
    """Each has a test of promtool's beside it."""
    tested = {
        case["alertname"]
        for test in yaml.safe_load(RULES.with_name("rules.test.yml").read_text("utf-8"))["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert tested == alerts().keys()
    for command in (["check", "rules", "rules.yml"], ["test", "rules", "rules.test.yml"]):
        process = await asyncio.create_subprocess_exec("promtool", *command, cwd=RULES.parent, stdout=PIPE, stderr=PIPE)
        told = await process.communicate()
        assert process.returncode == 0, told


@asynccontextmanager
async def prometheus(tmp_path: Path, service: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    """One that scrapes the service every second, as docs/metrics.md says."""
    (tmp_path / "key").write_text(KEY)
    job = {
        "job_name": "mlops_backend",
        "scrape_interval": "1s",
        "authorization": {"credentials_file": str(tmp_path / "key")},
        "static_configs": [{"targets": [service.url.removeprefix("http://")]}],
    }
    config = {"global": {"evaluation_interval": "1s"}, "rule_files": [str(RULES)], "scrape_configs": [job]}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    bound = listen_or_say("127.0.0.1", 0)
    assert bound is not None
    port = bound.getsockname()[1]
    bound.close()
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1", trust_env=False) as client:
            yield client
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def answered(client: httpx.AsyncClient, query: str) -> list[Any]:
    """What Prometheus says to a query of a panel's."""
    asked = query.replace('"$job"', '"mlops_backend"').replace("$__rate_interval", "1m")
    with suppress(httpx.TransportError):
        answer = (await client.get("/query", params={"query": asked})).json()
        assert answer["status"] == "success", answer
        return [each for each in answer["data"]["result"] if each["value"][1] != "NaN"]
    return []


async def healths(client: httpx.AsyncClient) -> Mapping[str, str]:
    """How each alert's query went, `unknown` before it was asked."""
    rules = (await client.get("/rules")).json()["data"]["groups"][0]["rules"]
    return {rule["name"]: rule["health"] for rule in rules}


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed")
async def test_a_real_prometheus_has_data_for_every_panel(tmp_path: Path, fake: FakeOllama) -> None:
    """Once it has scraped twice, with something happening in between."""
    async with busy(tmp_path, fake) as (service, client), prometheus(tmp_path, service) as asked:
        missing = {title: queries for title, queries in panels().items()}
        async with asyncio.timeout(120):
            while missing:
                await client.post("/api/generate", json={**PROMPT, "model": "llama3"})
                await asyncio.sleep(0.5)
                for title, queries in list(missing.items()):
                    if all([await answered(asked, query) for query in queries]):
                        del missing[title]
            while "unknown" in (health := await healths(asked)).values():
                await asyncio.sleep(0.2)
        assert health == dict.fromkeys(alerts(), "ok")


def test_what_is_remembered_of_budgets_has_a_bound_and_an_end() -> None:
    """A window that is over tells nothing of the one that runs."""
    now = 0.0
    use = BudgetUse(lambda: now)
    for number in range(3000):
        day = Standing("tokens_per_day", 100, 86400, 25, 60)
        use.note(f"key{number}", [day, Standing("requests", 10, 60, 5, 3)])
    assert len(use.used()) == 1000
    assert use.used()["key2999", "day"] == 0.75
    now = 61.0
    assert use.used() == {}
