"""The routes of usage: what one sees of one's own, what the administrator sees, and CSV."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import pytest

from mlops_backend.services.other.database.database import Database
from mlops_backend.services.other.usage import Ledger
from mlops_backend.services.other.usage.queries import HOUR
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.fakes.openai_server import FakeOpenAI
from tests.ledger_rows import insert_rows, midnight, row, until_written
from tests.service import ADMIN_KEY, Service

ADMIN: Final = {"X-API-Key": ADMIN_KEY}
OTHER: Final = "other-key-of-the-tests"
TRIED: Final = {"requested_model": "fast", "passed_over": "http://one:11434,http://two:11434"}
ROUTES: Final = ("/api/usage", "/api/usage/export", "/api/admin/usage", "/api/admin/usage/export")


@pytest.fixture
async def filled(serve: ServeFactory, fake: FakeOllama) -> AsyncIterator[Service]:
    """The service with some generations of two keys in its ledger."""
    async with serve(fake.url, api_keys=f"tester:ordinary-key-of-the-tests,other:{OTHER}") as service:
        rows = [
            row(1, midnight(1) + 5, price=1_500_000_000),
            row(2, midnight(1) + HOUR, model="mistral", outcome="error", price=250_000, **TRIED),
            row(3, midnight(0), key_id="settings:other", model="=HYPERLINK(1)", request_id="-req"),
            row(4, midnight(40)),
        ]
        await insert_rows(service.services.get(Database), rows)
        yield service


async def admin(service: Service, path: str, **params: Any) -> httpx.Response:
    """What the administrator is answered."""
    return await service.stranger.get(path, params=params, headers=ADMIN)


def table(answer: httpx.Response) -> list[dict[str, str]]:
    """A CSV answer, each line by its columns."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(answer.text.splitlines()))


async def test_one_sees_ones_own(filled: Service) -> None:
    """The last thirty days of one's own key are added up, and nobody else's."""
    answer = (await filled.client.get("/api/usage")).json()
    assert answer["rows"] == [answer["total"]]
    assert answer["total"] == {
        "generations": 2,
        "estimated": 0,
        "prompt_tokens": 20,
        "completion_tokens": 10,
        "total_tokens": 30,
        "total_ms": 200,
        "bytes_in": 100,
        "bytes_out": 1000,
        "price": "1.50025",
    }
    assert (answer["interval"], answer["group_by"], answer["truncated"]) == ("none", [], False)
    assert answer["from"].endswith("T00:00:00.000Z")


async def test_it_is_told_apart(filled: Service) -> None:
    """Groups and days, in the order of time and of size; each names what it was asked for, keys by their names, too."""
    answer = await admin(filled, "/api/admin/usage", group_by="key,model", interval="day")
    rows = [
        (each["start"][:10], each["key"], each["name"], each["model"], each["generations"])
        for each in answer.json()["rows"]
    ]
    days = [_day(midnight(ago)) for ago in (1, 0)]
    assert rows == [
        (days[0], "settings:tester", "tester", "llama3", 1),
        (days[0], "settings:tester", "tester", "mistral", 1),
        (days[1], "settings:other", "other", "=HYPERLINK(1)", 1),
    ]
    hours = (await filled.client.get("/api/usage", params={"interval": "hour"})).json()
    assert [each["start"][11:13] for each in hours["rows"]] == ["00", "01"]
    assert hours["hourly_from"] == hours["from"]


def _day(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).date().isoformat()


async def test_filters_and_times_choose(filled: Service) -> None:
    """By what the columns say, and from one moment to before another, in any way of writing them."""

    async def count(**params: Any) -> int:
        answer = await admin(filled, "/api/admin/usage", **params)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["total"]["generations"])

    assert await count() == 3
    assert await count(**{"from": "1970-01-01"}) == 4
    assert await count(key="settings:other") == 1
    assert await count(model="llama3", dialect="ollama", route="/api/chat") == 1
    assert await count(outcome="error", backend="http://ollama:11434") == 1
    assert await count(**{"from": midnight(1) / 1000, "to": f"{_day(midnight(1))}T00:00:01"}) == 1
    assert await count(**{"from": f"{_day(midnight(1))}T02:00:00+02:00", "to": f"{_day(midnight(0))}T00:00:00Z"}) == 2
    assert await count(model="'; DROP TABLE generations; --") == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=yesterday", "from"),
        ("from=-5", "from"),
        ("from=1e400", "from"),
        ("to=99999999999999", "to"),
        ("from=2026-02-01&to=2026-01-01", "from"),
        ("from=2999-01-01", "from"),
        ("from=2026-01-01&from=2026-01-02", "from"),
        ("model=a%00b", "model"),
        ("model=a&model=b", "model"),
        ("nonsense=1", "nonsense"),
    ],
)
async def test_a_wrong_query_is_told(filled: Service, query: str, field: str) -> None:
    """What cannot be understood is 422, and the parameter is named, on every route alike."""
    for route in ROUTES:
        answer = await filled.stranger.get(f"{route}?{query}", headers=ADMIN)
        assert answer.status_code == 422, (route, answer.text)
        assert answer.json()["code"] == "validation_error"
        assert answer.json()["details"][0]["loc"] == [field]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("group_by=model,colour", "group_by"),
        ("interval=week", "interval"),
        ("limit=0", "limit"),
        ("limit=9999", "limit"),
    ],
)
async def test_a_wrong_grouping_is_told(filled: Service, query: str, field: str) -> None:
    """The same of what is only for tables."""
    answer = await filled.client.get(f"/api/usage?{query}")
    assert answer.status_code == 422
    assert answer.json()["details"][0]["loc"][0] == field
    assert answer.json()["error"] == "The query does not fit the schema."


async def test_one_cannot_ask_for_another_key(filled: Service) -> None:
    """One's own routes take no `key`; the administrator's are closed to ordinary keys."""
    for route in ROUTES[:2]:
        assert (await filled.client.get(route, params={"key": "settings:other"})).status_code == 422
    for route in (*ROUTES[2:], "/api/admin/usage/generations/request-1"):
        assert (await filled.client.get(route)).status_code == 403
        assert (await filled.stranger.get(route)).status_code == 401


async def test_a_generation_is_shown_to_its_owner(filled: Service) -> None:
    """By either id, to the key that made it and to the administrator; to anybody else it does not exist."""
    shown = (await filled.client.get("/api/usage/generations/request-2")).json()
    assert shown["id"] == f"{2:032x}"
    assert (shown["key"], shown["name"], shown["model"]) == ("settings:tester", "tester", "mistral")
    assert (shown["price"], shown["total_tokens"], shown["outcome"]) == ("0.00025", 15, "error")
    assert {name: shown[name] for name in TRIED} == TRIED
    assert (await filled.client.get(f"/api/usage/generations/{2:032x}")).json() == shown
    for known_as in ("-req", f"{3:032x}", "none", "a%00b"):
        answer = await filled.client.get(f"/api/usage/generations/{known_as}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await admin(filled, "/api/admin/usage/generations/-req")).json()["name"] == "other"


async def test_the_export_has_every_row(filled: Service) -> None:
    """A line for each generation, oldest first, as a file; the filters hold."""
    answer = await filled.client.get("/api/usage/export", params={"from": "1970-01-01"})
    assert answer.headers["content-disposition"] == 'attachment; filename="generations.csv"'
    lines = table(answer)
    assert [line["request_id"] for line in lines] == ["request-4", "request-1", "request-2"]
    assert lines[1]["price"] == "1.5"
    assert lines[1]["started_at"] == f"{_day(midnight(1))}T00:00:00.005Z"
    assert lines[1]["estimated"] == "false"
    assert [lines[place][name] for place in (1, 2) for name in TRIED] == ["", "", *TRIED.values()]
    everything = table(await admin(filled, "/api/admin/usage/export", **{"from": 0}))
    assert len(everything) == 4
    assert len(table(await admin(filled, "/api/admin/usage/export", model="mistral"))) == 1


async def test_an_empty_export_has_its_head(filled: Service) -> None:
    """Nothing chosen: one line with the columns' names."""
    answer = await admin(filled, "/api/admin/usage/export", model="none")
    assert table(answer) == []
    assert answer.text.startswith("id,request_id,started_at,key,")


async def test_a_spreadsheet_calculates_nothing(filled: Service) -> None:
    """A text of a client's that begins as a formula does has an apostrophe before it."""
    bad = ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", '=cmd|"/c calc"!A1,x']
    rows = [row(number, midnight(0), model=text) for number, text in enumerate(bad, 100)]
    await insert_rows(filled.services.get(Database), rows)
    answer = await filled.client.get("/api/usage/export")
    read = list(csv.DictReader(answer.text.splitlines(keepends=True)))
    assert {line["model"] for line in read} >= {f"'{text}" for text in bad}
    tabled = await filled.client.get("/api/usage", params={"group_by": "model"}, headers={"Accept": "text/csv"})
    read = list(csv.DictReader(tabled.text.splitlines(keepends=True)))
    assert {line["model"] for line in read} >= {f"'{text}" for text in bad}


async def test_a_table_comes_as_csv(filled: Service) -> None:
    """With `Accept: text/csv` the rows of a table are lines, with the columns that were asked for."""
    answer = await filled.stranger.get(
        "/api/admin/usage", params={"group_by": "key", "interval": "day"}, headers={**ADMIN, "Accept": "text/csv"}
    )
    assert [(line["start"][:10], line["name"], line["price"]) for line in table(answer)] == [
        (_day(midnight(1)), "tester", "1.50025"),
        (_day(midnight(0)), "other", "0"),
    ]


async def test_a_generation_appears_soon(service: Service) -> None:
    """What just ended is shown by its request's id at once, and is in the sums within the half second of the ledger."""
    answer = await service.client.post("/api/llm/generate", json={"model": "llama3", "prompt": "Hi"})
    request_id = answer.headers["x-request-id"]
    async with asyncio.timeout(20):
        while (shown := await service.client.get(f"/api/usage/generations/{request_id}")).status_code == 404:
            await asyncio.sleep(0.01)
        assert shown.json()["route"] == "/api/llm/generate"
        while not (await service.client.get("/api/usage")).json()["total"]["generations"]:
            await asyncio.sleep(0.05)


async def test_a_name_of_the_operators_is_in_the_ledger(serve: ServeFactory, fake: FakeOllama) -> None:
    """Beside the model that it stood for; of a model that is called by its own name there is nothing to tell."""
    async with serve(fake.url, model_aliases="fast=llama3") as service:
        for name in ("fast", "llama3"):
            answer = await service.client.post("/api/llm/generate", json={"model": name, "prompt": "Hi"})
            place = f"/api/usage/generations/{answer.headers['X-Request-ID']}"
            row = (await service.client.get(place)).json()
            assert (row["model"], row["requested_model"]) == ("llama3", "fast" if name == "fast" else "")


async def test_a_model_of_any_script_has_its_name_and_price(serve: ServeFactory) -> None:
    """As its server lists it, and the operator has written it."""
    name = "\u901a\u4e49:7b"
    server = FakeOpenAI(models=[{"id": name}])
    async with server, serve(openai_backends=server.url, prices=f"{name[:2]}*=1000000/1000000") as service:
        body = {"model": name, "messages": [{"role": "user", "content": "Hi"}]}
        assert (await service.client.post("/v1/chat/completions", json=body)).status_code == 200
        await until_written(service.services.get(Ledger), 1, 60)
        told = (await service.client.get("/api/usage", params={"model": name, "group_by": "model"})).json()
    assert [(row["model"], row["price"]) for row in told["rows"]] == [(name, "9")]


async def test_a_long_export_is_streamed(serve: ServeFactory, fake: FakeOllama) -> None:
    """Many pages arrive in pieces, with every row once."""
    async with serve(fake.url) as service:
        rows = [row(number, midnight(0) + number // 7) for number in range(4500)]
        await insert_rows(service.services.get(Database), rows)
        async with service.client.stream("GET", "/api/usage/export") as answer:
            text = "".join([piece async for piece in answer.aiter_text()])
        assert "content-length" not in answer.headers
    assert [line["id"] for line in csv.DictReader(text.splitlines())] == [each["id"] for each in rows]


async def test_without_a_database_it_is_503(fake: FakeOllama, serve: ServeFactory) -> None:
    """Usage that cannot be read is told as such, with a time to come again; what is asked wrongly is still 422."""
    async with serve(fake.url, database_url="postgresql://nobody@127.0.0.1:1/none") as service:
        for route in (*ROUTES, "/api/admin/usage/generations/x", "/api/usage/generations/x"):
            answer = await service.stranger.get(route, headers=ADMIN)
            assert (answer.status_code, answer.json()["code"]) == (503, "database_down")
            assert answer.headers["retry-after"]
        answer = await service.client.get("/api/usage", params={"limit": 0})
        assert answer.status_code == 422


async def test_an_export_that_fails_on_the_way_is_not_whole(
    fake: FakeOllama, serve: ServeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that goes after the first page breaks the connection off: nobody takes half for the whole."""
    async with serve(fake.url) as service:
        database = service.services.get(Database)
        await insert_rows(database, [row(number, midnight(0) + number) for number in range(3000)])
        async with service.client.stream("GET", "/api/usage/export") as answer:
            pieces = answer.aiter_raw()
            assert (await anext(pieces)).startswith(b"id,")
            monkeypatch.setattr(database, "_ready", False)
            with pytest.raises(httpx.RemoteProtocolError):
                async for _ in pieces:
                    pass
        monkeypatch.setattr(database, "_ready", True)
        assert (await service.client.get("/api/usage")).status_code == 200
