"""The routes of latencies and of the newest generations: one's own for a key, everybody's for the administrator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest

from mlops_backend.services.other.database.database import Database
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.ledger_rows import insert_rows, midnight, row
from tests.service import ADMIN_KEY, Service

ADMIN: Final = {"X-API-Key": ADMIN_KEY}
OWN: Final = ("/api/usage/latency", "/api/usage/generations")
ANY: Final = ("/api/admin/usage/latency", "/api/admin/usage/generations")


@pytest.fixture
async def filled(serve: ServeFactory, fake: FakeOllama) -> AsyncIterator[Service]:
    """The service with generations of two keys in its ledger."""
    async with serve(fake.url, api_keys="tester:ordinary-key-of-the-tests,other:other-key-of-the-tests") as service:
        rows = [
            row(1, midnight(1), first_byte_ms=100, total_ms=500, completion_tokens=5),
            row(2, midnight(1) + 1, outcome="error", error="backend_refused", model="mistral"),
            row(3, midnight(0), key_id="settings:other", streamed=False, model="mistral", end_user="alice"),
            row(4, midnight(0) + 1, outcome="timeout", total_ms=5000),
        ]
        await insert_rows(service.services.get(Database), rows)
        yield service


async def told(service: Service, path: str, **params: Any) -> dict[str, Any]:
    """What the administrator is answered on its routes, and the tester on its own."""
    client, headers = (service.stranger, ADMIN) if "admin" in path else (service.client, {})
    answer = await client.get(path, params=params, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    told: dict[str, Any] = answer.json()
    return told


def ids(answer: dict[str, Any]) -> list[str]:
    """The requests of a page."""
    return [each["request_id"] for each in answer["generations"]]


async def test_ones_own_latencies(filled: Service) -> None:
    """Those that are done, unless one asks for others; a bucket has its bounds, and no key sees another's."""
    answer = await told(filled, OWN[0])
    first = answer["total"]["first_token"]
    assert first == {
        "generations": 1,
        "p50_ms": 112.0,
        "p90_ms": 123.0,
        "p99_ms": 126.0,
        "buckets": [{"from_ms": 100.0, "to_ms": 126.0, "generations": 1}],
    }
    (each,) = answer["total"]["each_token"]["buckets"]
    assert (each["from_ms"], each["to_ms"]) == (100.0, 126.0), "400 ms for the four behind the first"
    assert (answer["rows"], answer["group_by"], answer["truncated"]) == ([], None, False)
    assert answer["known_from"] == answer["from"]
    failed = await told(filled, OWN[0], outcome="error,timeout", group_by="model")
    assert [(group["model"], group["whole"]["generations"]) for group in failed["rows"]] == [
        ("llama3", 1),
        ("mistral", 1),
    ]


async def test_everybodys_latencies(filled: Service) -> None:
    """An answer in one piece has no first token of its own; groups are bounded, and the filters hold."""
    answer = await told(filled, ANY[0], group_by="model", limit=1)
    assert (len(answer["rows"]), answer["truncated"]) == (1, True)
    (others,) = (await told(filled, ANY[0], group_by="backend", key="settings:other"))["rows"]
    assert (others["backend"], others["whole"]["generations"]) == ("http://ollama:11434", 1)
    assert others["first_token"] == {
        "generations": 0, "p50_ms": None, "p90_ms": None, "p99_ms": None, "buckets": [],
    }  # fmt: skip
    assert (await told(filled, ANY[0], end_user="nobody"))["total"]["whole"]["generations"] == 0


async def test_the_newest_of_ones_own(filled: Service) -> None:
    """Newest first, a page at a time, and nobody else's."""
    first = await told(filled, OWN[1], limit=2)
    assert ids(first) == ["request-4", "request-2"]
    assert (first["generations"][0]["streamed"], first["generations"][1]["error"]) == (True, "backend_refused")
    second = await told(filled, OWN[1], limit=2, after=first["next"])
    assert (ids(second), second["next"]) == (["request-1"], None)


async def test_the_last_failures_of_all(filled: Service) -> None:
    """By outcome, key, model, backend and end user."""
    for wanted, params in (
        (["request-4", "request-2"], {"outcome": "error,timeout,drained"}),
        (["request-3", "request-1"], {"outcome": "done"}),
        (["request-3"], {"key": "settings:other"}),
        (["request-3", "request-2"], {"model": "mistral", "backend": "http://ollama:11434"}),
        (["request-3"], {"end_user": "alice"}),
        (["request-2"], {"key": "settings:tester", "outcome": "error"}),
        ([], {"outcome": "nonsense"}),
    ):
        assert ids(await told(filled, ANY[1], **params)) == wanted, params


async def test_one_cannot_ask_for_another_key(filled: Service) -> None:
    """One's own routes take no `key`; the administrator's are closed to ordinary keys."""
    for path in OWN:
        assert (await filled.client.get(path, params={"key": "settings:other"})).status_code == 422
    for path in ANY:
        assert (await filled.client.get(path)).status_code == 403


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        (OWN[0], "group_by=key", "group_by"),
        (OWN[0], "limit=51", "limit"),
        (OWN[0], "from=2999-01-01", "from"),
        (OWN[1], "after=x", "after"),
        (OWN[1], "after=5-%27", "after"),
        (OWN[1], "limit=201", "limit"),
        ("/api/usage", "top=5", "top"),
        ("/api/usage", "top=5&group_by=model,backend", "top"),
        ("/api/usage", "top=0&group_by=model", "top"),
    ],
)
async def test_a_wrong_query_is_told(filled: Service, path: str, query: str, field: str) -> None:
    """It is 422, and names the parameter."""
    answer = await filled.client.get(f"{path}?{query}")
    assert (answer.status_code, answer.json()["details"][0]["loc"]) == (422, [field])


async def test_the_rest_is_told(filled: Service) -> None:
    """As JSON and as CSV: the largest by its name, all others without one."""
    rows = (await told(filled, ANY[0].replace("/latency", ""), group_by="key", top=1))["rows"]
    assert [(each["key"], each.get("name"), each["rest"], each["generations"]) for each in rows] == [
        ("settings:tester", "tester", False, 3),
        (None, None, True, 1),
    ]
    headers = {**ADMIN, "Accept": "text/csv"}
    answer = await filled.stranger.get("/api/admin/usage?group_by=key&top=1", headers=headers)
    lines = answer.text.splitlines()
    assert lines[0].startswith("key,name,rest,generations,")
    assert [line.split(",")[:4] for line in lines[1:]] == [
        ["settings:tester", "tester", "false", "3"],
        ["", "", "true", "1"],
    ]


async def test_what_has_just_ended_is_there(filled: Service, fake: FakeOllama) -> None:
    """A stream is known as one, and an answer in one piece as none."""
    for stream in (True, False):
        answer = await filled.client.post("/api/generate", json={"model": "llama3", "prompt": "x", "stream": stream})
        shown = await _shown(filled, answer)
        assert shown["streamed"] is stream


async def _shown(service: Service, answer: httpx.Response) -> dict[str, Any]:
    told: dict[str, Any] = (await service.client.get(f"/api/usage/generations/{answer.headers['X-Request-ID']}")).json()
    return told
