"""Every line that is written over requests of every kind is one that the schema and the page of the log know."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from tests.conftest import ServeFactory
from tests.e2e.page_blocks import DOCS, read_blocks, read_table
from tests.fakes.ollama import FakeOllama, Mode
from tests.service import ADMIN_KEY, Service
from tests.test_log_page import fields_of_requests, words

SCHEMA = json.loads((DOCS / "examples" / "log-line.schema.json").read_text())
VALIDATOR = OAS31Validator(SCHEMA)
COMMON = {"event", "level", "timestamp"}
ADMIN = {"X-API-Key": ADMIN_KEY}
CHAT = {"model": "fast", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8}
ASKED: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/api/llm/generate", {"model": "fast", "prompt": "Hi"}),
    ("POST", "/api/llm/stream", {"model": "llama3", "prompt": "Hi"}),
    ("POST", "/api/chat", {**CHAT, "stream": True}),
    ("POST", "/api/embed", {"model": "llama3", "input": "Hi"}),
    ("POST", "/v1/chat/completions", CHAT),
    ("POST", "/v1/chat/completions", {**CHAT, "stream": True}),
    ("POST", "/v1/messages", CHAT),
    ("POST", "/api/database/conversations", {"title": "a"}),
    ("POST", "/api/llm/generate", {"prompt": 7}),
    ("POST", "/api/generate", {"model": "unknown", "prompt": "Hi"}),
    ("GET", "/api/tags", None),
    ("GET", "/nowhere", None),
    ("PATCH", "/api/tags", None),
    ("GET", "/api/admin/keys", None),
    ("DELETE", "/api/llm/generations/none", None),
)


def told_by(page_heading: str) -> set[str]:
    """The fields of a table of the page."""
    return {field for fields, _ in read_table("logs.md", page_heading) for field in words(fields)}


async def use(service: Service) -> None:
    """Ask for everything, with a key and with a wrong one, and do what an administrator does."""
    for method, path, body in ASKED:
        await service.client.request(method, path, json=body)
        await service.stranger.request(method, path, json=body, headers={"X-API-Key": "wrong"})
    made = await service.stranger.post("/api/admin/keys", json={"name": "a"}, headers=ADMIN)
    await service.stranger.patch(f"/api/admin/keys/{made.json()['id']}", json={"owner": "b"}, headers=ADMIN)
    await service.stranger.patch("/api/admin/keys/key_unknown", json={"owner": "b"}, headers=ADMIN)


async def fail(service: Service, fake: FakeOllama) -> None:
    """Generate, whole and streamed, with a backend that fails in many ways."""
    for fake.mode in (mode for mode in Mode if "HANG" not in mode.name and "SLOW" not in mode.name):
        for path in ("/api/llm/generate", "/api/llm/stream"):
            await service.client.post(path, json={"model": "llama3", "prompt": "Hi"})


async def test_every_line_is_of_the_schema(
    serve: ServeFactory, fake: FakeOllama, capsys: pytest.CaptureFixture[str]
) -> None:
    """Requests that went well, were refused, failed on the way or amid a stream, and what administrators did."""
    async with FakeOllama() as other, serve(fake.url, other.url, model_aliases="fast=llama3") as service:
        await use(service)
    async with serve(fake.url) as service:
        await fail(service, fake)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    faults = [f"{error.message}: {line}" for line in lines for error in VALIDATOR.iter_errors(line)]
    assert faults == []
    requests = [line for line in lines if line["event"] == "request"]
    audits = [line for line in lines if line["event"] == "audit"]
    assert {line["outcome"] for line in requests} >= {"done", "refused", "error"}
    assert set().union(*requests) >= {"requested_model", "route_reason", "error", "first_byte_ms", "completion_tokens"}
    assert len(requests) > len(ASKED)
    assert len(audits) >= 3


def test_the_schema_is_the_page() -> None:
    """It has the fields of the page's tables, and a field that is not there is none."""
    request, audit = (set(SCHEMA["$defs"][name]["properties"]) for name in ("request", "audit"))
    assert request == fields_of_requests() | COMMON
    assert audit | {"time"} == told_by("The audit log") | COMMON
    line = {"event": "request", "level": "info", "timestamp": "2026-01-01T00:00:00Z", "new": 1}
    assert len(list(VALIDATOR.iter_errors(line))) == 7


def test_the_example_of_the_audit_log_is_one() -> None:
    """The page's line has fields of its table, in a form that a program reads."""
    line = json.loads(read_blocks()["audit-line"].text)
    assert {*line} <= told_by("The audit log")
