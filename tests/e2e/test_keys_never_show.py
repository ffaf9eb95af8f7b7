"""Keys that were used in every way on every route are nowhere to be found afterwards."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from mlops_backend.middleware.access import TABLE
from tests.e2e.server_process import KEY, ServerProcess, serving_process
from tests.fakes.ollama import FakeOllama

ORDINARY = "ordinary-key-that-nobody-may-see"
PASSWORD = "password-that-nobody-may-see"
# What happens is told there for as long as one listens.
ENDLESS = "/api/console/events"
BODIES: tuple[Any, ...] = (
    {"model": "llama3", "prompt": "x", "messages": [{"role": "user", "content": "x"}], "stream": False},
    {"model": 7},
    [],
)


def ways(key: str) -> list[tuple[str, dict[str, str]]]:
    """How a key can be presented, rightly and wrongly: what stands before the path, and headers."""
    basic = base64.b64encode(f"x:{key}".encode()).decode()
    return [
        ("", {"X-API-Key": key}),
        ("", {"Authorization": f"Bearer {key}"}),
        ("", {"Authorization": f"Basic {basic}"}),
        (f"/k/{key}", {}),
        ("", {"X-API-Key": key, "Authorization": "Bearer another"}),
        ("", {"X-API-Key": key, "Content-Type": "text/plain"}),
        ("", {"X-API-Key": key, "Host": ".."}),
    ]


async def use(client: httpx.AsyncClient, key: str) -> list[str]:
    """Present a key on every route of the table, in every way in turn; what was answered."""
    answers = []
    kinds = ways(key)
    requests = [(method, rule) for rule, methods in TABLE.items() for method in methods if method != "HEAD"]
    for number, (method, rule) in enumerate([*requests, ("GET", "/nowhere"), ("PATCH", "/api/tags")] * 2):
        before, headers = kinds[number % len(kinds)]
        body = BODIES[number % len(BODIES)] if method != "GET" else None
        path = before + rule.replace("<", "").replace(">", "").replace("path:", "")
        async with client.stream(method, path, json=body, headers=headers) as answer:
            is_endless = rule == ENDLESS and answer.status_code == 200
            text = await anext(answer.aiter_text()) if is_endless else (await answer.aread()).decode()
        answers.append(f"{answer.headers}{text}")
    return answers


def asking(process: ServerProcess) -> httpx.AsyncClient:
    """A client without a key, and without a connection that could close just as it is used again."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=process.url, limits=limits, timeout=20, trust_env=False)


def command_lines(process: ServerProcess) -> str:
    """What the list of processes shows of it and its children."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return "\n".join(" ".join(member.cmdline()) for member in family)


async def made(client: httpx.AsyncClient) -> list[str]:
    """Two keys of the database, of which one was rotated: three secrets."""
    admin = {"X-API-Key": KEY}
    first = (await client.post("/api/admin/keys", json={"name": "a"}, headers=admin)).json()
    second = (await client.post("/api/admin/keys", json={"name": "b", "scopes": ["admin"]}, headers=admin)).json()
    rotated = await client.post(f"/api/admin/keys/{first['id']}/rotate", json={"overlap_seconds": 60}, headers=admin)
    return [first["key"], second["key"], rotated.json()["key"]]


async def test_no_key_is_seen_again(tmp_path: Path, fake: FakeOllama) -> None:
    """Not in a talkative log, in what is audited, an answer, a metric, the database or a list of processes."""
    settings = {
        "API_KEYS": f"tester:{ORDINARY}",
        "KEY_IN_URL": "true",
        "LOG_LEVEL": "DEBUG",
        "AUTH_FAILURE_LIMIT": "off",
        "AUDIT_LOG": "audit.log",
    }
    async with serving_process(tmp_path, fake.url, **settings) as process:
        async with asking(process) as client:
            keys = [KEY, ORDINARY, *await made(client)]
            answers = [answer for key in keys for answer in await use(client, key)]
            metrics = (await client.get("/metrics", headers={"X-API-Key": KEY})).text
        shown = command_lines(process)
        files = b"".join(file.read_bytes() for file in (tmp_path / "data").iterdir())
        audit = (tmp_path / "audit.log").read_text()
        logs = process.output + process.errors
    assert len(answers) > 500
    assert audit.count('"begun"') > 20
    assert "mlops_ledger_written_total" in metrics
    assert logs.count('"request"') > 500
    assert b"key_" in files
    assert "mlops_backend" in shown
    for key in keys:
        texts = {"log": logs, "audit": audit, "metrics": metrics, "processes": shown, "answers": "".join(answers)}
        for name, text in texts.items():
            assert key not in text, f"{name}: {text[max(0, text.index(key) - 300) :][:400]}"
        assert key.encode() not in files


@pytest.mark.parametrize(
    "redis_url",
    [
        f"redis://user:{PASSWORD}@127.0.0.1:1/0",
        f"redis+sentinel://user:{PASSWORD}@127.0.0.1:1,127.0.0.1:2/name/0?sentinel_password={PASSWORD}",
    ],
    ids=["redis", "sentinels"],
)
async def test_no_password_of_a_server_is_seen(tmp_path: Path, fake: FakeOllama, redis_url: str) -> None:
    """Of a database and a Redis that are both away, and so are spoken of."""
    settings = {
        "DATABASE_URL": f"postgresql://user:{PASSWORD}@127.0.0.1:1/nothing",
        "REDIS_URL": redis_url,
        "RATE_LIMIT_REQUESTS": "5/minute",
        "API_KEYS": f"tester:{ORDINARY}",
        "LOG_LEVEL": "DEBUG",
    }
    body = {"model": "llama3", "prompt": "x", "stream": False}
    async with serving_process(tmp_path, fake.url, **settings) as process:
        async with asking(process) as client:
            answer = await client.post("/api/generate", json=body, headers={"X-API-Key": ORDINARY})
            usage = await client.get("/api/usage", headers={"X-API-Key": ORDINARY})
            unknown = await client.get("/api/tags", headers={"X-API-Key": "mlb_unknown"})
        logs = process.output + process.errors
    assert (answer.status_code, usage.status_code, unknown.status_code) == (200, 503, 503)
    assert "away" in logs
    assert PASSWORD not in f"{logs}{answer.text}{usage.text}{unknown.text}"
