"""The level of the log is changed while the service runs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, Service

ROUTE = "/api/admin/log-level"


def admin(service: Service) -> httpx.AsyncClient:
    """The client of the test, with the administrator's key."""
    service.client.headers["X-API-Key"] = ADMIN_KEY
    return service.client


async def put(service: Service, **body: Any) -> dict[str, Any]:
    """Another level; what holds then."""
    answer = await admin(service).put(ROUTE, json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def ask(service: Service, number: str) -> None:
    """One request that would be logged under that id."""
    await service.client.get("/health", headers={"X-Request-ID": f"asked-{number}"})


def logged(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The ids of `ask` among the lines that were written."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ids = [line["request_id"] for line in lines if line["event"] == "request"]
    return [each.removeprefix("asked-") for each in ids if each.startswith("asked-")]


async def test_a_level_holds_until_it_is_changed_again(
    serve: ServeFactory, fake: FakeOllama, capsys: pytest.CaptureFixture[str]
) -> None:
    """At `WARNING` requests that went well are not logged; at `DEBUG` they are; both are told."""
    async with serve(fake.url) as service:
        configured = {"level": "INFO", "configured": "INFO", "seconds_left": None}
        assert (await admin(service).get(ROUTE)).json() == configured
        await ask(service, "before")
        assert await put(service, level="WARNING") == {**configured, "level": "WARNING"}
        await ask(service, "quiet")
        assert (await admin(service).get(ROUTE)).json()["level"] == "WARNING"
        assert await put(service, level="DEBUG") == {**configured, "level": "DEBUG"}
        await ask(service, "after")
    assert logged(capsys) == ["before", "after"]


async def test_a_level_goes_back_by_itself(
    serve: ServeFactory, fake: FakeOllama, capsys: pytest.CaptureFixture[str]
) -> None:
    """After the seconds that were asked for, and of two wishes the later one holds."""
    async with serve(fake.url) as service:
        assert (await put(service, level="ERROR", seconds=600))["seconds_left"] > 590
        told = await put(service, level="WARNING", seconds=1)
        assert 0 < told["seconds_left"] <= 1
        await ask(service, "quiet")
        async with asyncio.timeout(20):
            while (told := (await admin(service).get(ROUTE)).json())["level"] == "WARNING":
                await asyncio.sleep(0.02)
        assert told == {"level": "INFO", "configured": "INFO", "seconds_left": None}
        await ask(service, "loud")
        assert (await put(service, level="WARNING"))["seconds_left"] is None
    assert logged(capsys) == ["loud"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"level": "info"},
        {"level": "LOUD"},
        {"level": "INFO", "seconds": 0},
        {"level": "INFO", "seconds": 10_000_000},
        {"level": "INFO", "seconds": "60"},
        {"level": "INFO", "second": 60},
        [],
    ],
    ids=str,
)
async def test_what_is_no_level_changes_nothing(service: Service, body: Any) -> None:
    """It is refused, and so is a misspelt wish for it to go back."""
    answer = await admin(service).put(ROUTE, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
    assert (await admin(service).get(ROUTE)).json()["level"] == "INFO"


async def test_an_ordinary_key_changes_nothing(service: Service) -> None:
    """It is the administrator's."""
    for method in ("GET", "PUT"):
        answer = await service.client.request(method, ROUTE, json={"level": "DEBUG"})
        assert answer.status_code == 403
