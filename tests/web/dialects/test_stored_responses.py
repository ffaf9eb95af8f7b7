"""OpenAI's responses that are stored: continued, read and deleted by their key, whatever the backend can do itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from mlops_backend.errors import BodiesFull
from mlops_backend.services.llm import asked as tasks
from mlops_backend.services.llm.asked import read_asked
from mlops_backend.services.other.database import Database, patient_writes
from mlops_backend.services.other.limits import ByteBudget
from mlops_backend.services.other.responses import StoredResponses, reads
from mlops_backend.services.other.responses import service as responses_service
from mlops_backend.services.other.responses.expired import ExpiredResponses
from mlops_backend.services.other.responses.kept_responses import KeptResponses
from tests.conftest import ServeFactory
from tests.databases import Postgres
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service
from tests.web.conversations.stored_replies import away, in_ledger
from tests.web.dialects.drop_in_families import Family, begin, directly, masked

ROUTE: Final = "/v1/responses"
FAMILY: Final = Family(ROUTE, {"input": "say hello please"})
WORDS: Final = "".join(DEFAULT_WORDS)
ASKED: Final[dict[str, Any]] = {"model": "llama3", "input": "One?"}
ANOTHER: Final = {"X-API-Key": ADMIN_KEY}


@pytest.fixture(name="service", params=["native", "carried"])
async def _service(request: pytest.FixtureRequest, fake: FakeOllama, serve: ServeFactory) -> AsyncIterator[Service]:
    """The service before an Ollama that has the route, or lacks it."""
    fake.lacks = {ROUTE} if request.param == "carried" else set()
    async with serve(fake.url) as running:
        yield running


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not there is not there a moment later either."""
    monkeypatch.setattr(responses_service, "_PAUSE", 0.1)


@pytest.fixture
async def on(serve: ServeFactory, fake: FakeOllama, database_url: str) -> AsyncIterator[Service]:
    """The service on either database."""
    async with serve(fake.url, database_url=database_url, log_level="error") as service:
        yield service


def events(text: str) -> list[dict[str, Any]]:
    """The objects of a stream."""
    return [json.loads(frame.partition("\ndata: ")[2]) for frame in text.split("\n\n") if frame]


async def ask(service: Service, *, stream: bool = False, **fields: Any) -> dict[str, Any]:
    """A response."""
    answer = await service.client.post(ROUTE, json={**ASKED, "stream": stream, **fields})
    assert answer.status_code == 200, answer.text
    if not stream:
        return dict(answer.json())
    told = [each["response"] for each in events(answer.text) if "response" in each]
    assert len(told) > 1
    names = ("id", "store", "previous_response_id")
    assert len({tuple(each[name] for name in names) for each in told}) == 1
    return dict(told[-1])


def heard(fake: FakeOllama) -> list[tuple[str, str]]:
    """Roles and texts that the backend was sent last."""
    sent = fake.requests[-1].json()
    said = sent["messages"] if "messages" in sent else sent["input"]
    return [
        (each["role"], text if isinstance(text := each["content"], str) else "".join(part["text"] for part in text))
        for each in ([{"role": "user", "content": said}] if isinstance(said, str) else said)
    ]


async def missing(service: Service, response_id: str, **headers: Any) -> bool:
    """Whether nothing can be done with it: it is not read, listed, continued or deleted."""
    client, path = service.stranger, f"{ROUTE}/{response_id}"
    headers = headers or {"X-API-Key": ORDINARY_KEY}
    answers = [
        await client.get(path, headers=headers),
        await client.get(f"{path}/input_items", headers=headers),
        await client.post(ROUTE, json={**ASKED, "previous_response_id": response_id}, headers=headers),
        await client.delete(path, headers=headers),
    ]
    assert all(answer.json()["error"]["type"] == "not_found_error" for answer in answers if answer.status_code == 404)
    return {answer.status_code for answer in answers} == {404}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_response_is_stored_as_it_was_answered(service: Service, *, stream: bool) -> None:
    """Unless that is not wanted; its id is like no other, and what it was asked with is told in OpenAI's form."""
    told = await ask(service, stream=stream, input=[{"role": "user", "content": "One?"}])
    assert (told["store"], told["status"]) == (True, "completed")
    read = await service.client.get(f"{ROUTE}/{told['id']}")
    assert (read.status_code, read.json(), read.headers["cache-control"]) == (200, told, "no-store")
    listed = (await service.client.get(f"{ROUTE}/{told['id']}/input_items")).json()
    (item,) = listed["data"]
    assert item == {
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_text", "text": "One?"}],
        "id": item["id"],
    }
    assert {**listed, "data": []} == {
        "object": "list",
        "data": [],
        "first_id": item["id"],
        "last_id": item["id"],
        "has_more": False,
    }
    assert (await ask(service, stream=stream))["id"] != told["id"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_response_is_continued(service: Service, fake: FakeOllama, *, stream: bool) -> None:
    """Its backend gets all that was said, but for older instructions, and nothing to look up."""
    first = await ask(service, stream=stream, instructions="Brief.")
    second = await ask(service, stream=stream, input="Two?", previous_response_id=first["id"])
    third = await ask(
        service,
        stream=stream,
        input=[{"role": "user", "content": "3?"}],
        previous_response_id=second["id"],
        store=False,
    )
    assert heard(fake) == [
        ("user", "One?"),
        ("assistant", WORDS),
        ("user", "Two?"),
        ("assistant", WORDS),
        ("user", "3?"),
    ]
    assert "previous_response_id" not in fake.requests[-1].json()
    assert [each["previous_response_id"] for each in (first, second, third)] == [None, first["id"], second["id"]]
    assert [each["store"] for each in (first, second, third)] == [True, True, False]
    assert (await service.client.get(f"{ROUTE}/{third['id']}")).status_code == 404
    listed = (await service.client.get(f"{ROUTE}/{second['id']}/input_items")).json()
    assert [part["text"] for item in listed["data"] for part in item["content"]] == ["Two?"]


async def test_a_response_is_its_keys_alone(service: Service) -> None:
    """For every other key it does not exist, the administrator's too."""
    told = await ask(service)
    assert await missing(service, told["id"], **ANOTHER)
    assert (await service.client.get(f"{ROUTE}/{told['id']}")).status_code == 200


@pytest.mark.parametrize("response_id", ["resp_" + "0" * 48, "resp_", "x", "resp_%00", "resp_é"])
async def test_one_that_never_was(service: Service, response_id: str) -> None:
    """Is a 404, whatever is asked of it."""
    assert await missing(service, response_id)


async def test_a_deleted_response_is_gone(service: Service) -> None:
    """And those that continue it are not continued any more, but read."""
    first = await ask(service)
    second = await ask(service, previous_response_id=first["id"])
    gone = await service.client.delete(f"{ROUTE}/{first['id']}")
    assert (gone.status_code, gone.json()) == (200, {"id": first["id"], "object": "response", "deleted": True})
    assert await missing(service, first["id"])
    assert (await service.client.get(f"{ROUTE}/{second['id']}")).json() == second
    refused = await service.client.post(ROUTE, json={**ASKED, "previous_response_id": second["id"]})
    assert (refused.status_code, "not there any more" in refused.json()["error"]["message"]) == (404, True)


async def test_input_items_come_a_page_at_a_time(service: Service) -> None:
    """The last one first, or the first one."""
    given = [{"role": "user", "content": str(number)} for number in range(5)]
    path = f"{ROUTE}/{(await ask(service, input=given))['id']}/input_items"

    async def page(**query: Any) -> tuple[list[str], dict[str, Any]]:
        listed = (await service.client.get(path, params={"limit": 2, **query})).json()
        return [item["content"][0]["text"] for item in listed["data"]], listed

    texts, first = await page()
    assert (texts, first["has_more"]) == (["4", "3"], True)
    texts, second = await page(after=first["last_id"])
    assert (texts, second["has_more"]) == (["2", "1"], True)
    assert (await page(after=second["last_id"]))[0] == ["0"]
    assert (await page(order="asc", include="x"))[0] == ["0", "1"]
    assert (await service.client.get(path, params={"limit": 0})).status_code == 422


async def test_nothing_is_changed_of_a_request_that_is_not_continued(fake: FakeOllama, serve: ServeFactory) -> None:
    """Its bytes are the client's, but for a `store` that is true: the backend is not to keep it too."""
    async with serve(fake.url) as service:
        for more, sent in (("", ""), (', "store" : false', None), (', "store" : true', ', "store" : false')):
            body = '{ "model": "llama3", "input":"One?"%s }'
            assert (await service.client.post(ROUTE, content=body % more)).status_code == 200
            assert fake.requests[-1].body.decode() == body % (more if sent is None else sent)


async def test_what_is_not_stored_is_relayed_as_it_comes(fake: FakeOllama, serve: ServeFactory) -> None:
    """Byte for byte, streamed too; no response is kept."""
    async with serve(fake.url) as service:
        body = {**FAMILY.streamed, "store": False}
        assert masked((await service.client.post(ROUTE, json=body)).content) == masked(
            b"".join(await directly(fake, FAMILY, body))
        )
        assert not service.services.get(KeptResponses).waiting
    async with serve(fake.url, responses_stored=False) as service:
        answer = await service.client.post(ROUTE, json={**ASKED, "previous_response_id": "resp_1", "store": True})
        assert fake.requests[-1].json()["previous_response_id"] == "resp_1"
        assert answer.json()["store"] is False
        assert (await service.client.get(f"{ROUTE}/{answer.json()['id']}")).status_code == 404


async def test_a_stored_stream_differs_in_three_members(fake: FakeOllama, serve: ServeFactory) -> None:
    """All other characters are the backend's."""
    async with serve(fake.url) as service:
        ours = (await service.client.post(ROUTE, json=FAMILY.streamed)).content
    theirs = b"".join(await directly(fake, FAMILY, FAMILY.streamed))
    assert masked(ours).replace(b'"store":true', b'"store":false') == masked(theirs)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_response_can_be_continued_at_once(
    service: Service, fake: FakeOllama, monkeypatch: pytest.MonkeyPatch, *, stream: bool
) -> None:
    """Nobody waits until it is written but who continues it."""
    free, changed = asyncio.Event(), asyncio.Event()
    stored = service.services.get(StoredResponses)
    transaction = stored._database.transaction

    async def slow(work: Any) -> Any:
        changed.set()
        await free.wait()
        return await transaction(work)

    monkeypatch.setattr(stored._database, "transaction", slow)
    first = await ask(service, stream=stream)
    await changed.wait()
    asyncio.get_running_loop().call_later(0.3, free.set)
    await ask(service, previous_response_id=first["id"])
    assert heard(fake)[0] == ("user", "One?")


async def test_only_so_many_are_kept_of_a_key(fake: FakeOllama, serve: ServeFactory) -> None:
    """Those go that were used longest ago; other keys have their own."""
    async with serve(fake.url, responses_per_key=2) as service:
        other = (await service.stranger.post(ROUTE, json=ASKED, headers=ANOTHER)).json()
        first, second, third = [await ask(service) for _ in range(3)]
        await until_written(service)
        there = [(await service.client.get(f"{ROUTE}/{each['id']}")).status_code for each in (second, third)]
        assert there == [200, 200]
        assert (await service.client.get(f"{ROUTE}/{first['id']}")).status_code == 404
        assert (await service.stranger.get(f"{ROUTE}/{other['id']}", headers=ANOTHER)).status_code == 200


async def until_written(service: Service) -> None:
    """Wait until nothing is still to be written."""
    async with asyncio.timeout(20):
        while service.services.get(KeptResponses).waiting:
            await asyncio.sleep(0.01)


async def test_only_so_many_bytes_are_kept_of_a_key(fake: FakeOllama, serve: ServeFactory) -> None:
    """The oldest go, as many as it takes."""
    async with serve(fake.url, response_bytes_per_key=10_000) as service:
        ids = [(await ask(service, input="x" * 4000))["id"] for _ in range(3)]
        await until_written(service)
        there = [(await service.client.get(f"{ROUTE}/{each}")).status_code for each in ids]
        assert there == [404, 404, 200]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_what_is_too_large_is_answered_and_not_stored(
    fake: FakeOllama, serve: ServeFactory, *, stream: bool
) -> None:
    """The answer says so: be it what was asked, or that together with the answer."""
    async with serve(fake.url, response_bytes=1500) as service:
        for size in (2000, 1490):
            told = await ask(service, stream=stream, input="x" * size)
            assert (told["store"], told["status"]) == (False, "completed")
            assert (await service.client.get(f"{ROUTE}/{told['id']}")).status_code == 404


async def test_what_is_too_long_is_not_continued(fake: FakeOllama, serve: ServeFactory) -> None:
    """It would be larger than a body may be."""
    async with serve(fake.url, max_body_bytes=5000) as service:
        first = await ask(service, input="x" * 3000)
        second = await ask(service, previous_response_id=first["id"])
        refused = await service.client.post(ROUTE, json={**ASKED, "previous_response_id": second["id"]})
        assert refused.status_code == 413


async def test_what_came_before_counts(fake: FakeOllama, serve: ServeFactory) -> None:
    """In the memory for bodies and in the estimate of the prompt, as if the client had sent it."""
    limits = dict.fromkeys(("body_memory", "body_memory_per_key", "max_body_bytes"), 100_000)
    async with serve(fake.url, **limits) as service:
        first = await ask(service, input="x" * 60_000)
        refused = await service.client.post(
            ROUTE, json={**ASKED, "input": "x" * 60_000, "previous_response_id": first["id"]}
        )
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "key_bodies_full")
        assert service.services.get(ByteBudget).held == 0


async def test_what_came_before_is_not_read_where_there_is_no_room_for_it(
    on: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short request that continues a long response takes none of the memory that it is refused."""
    first = await ask(on, input="x" * 60_000)
    await until_written(on)
    told: list[int] = []

    def no_room(size: int) -> None:
        told.append(size)
        raise BodiesFull("full")

    monkeypatch.delattr(reads, "texts")
    body = json.dumps({**ASKED, "previous_response_id": first["id"]}).encode()
    asked = read_asked(tasks.RESPONSES, "POST", ROUTE, (), body)
    with pytest.raises(BodiesFull):
        await on.services.get(StoredResponses).begin(asked, "settings:tester", no_room)
    assert told[0] > 60_000


async def test_one_whose_time_has_passed_is_gone(on: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is shown it, and it is deleted; one that was continued lives as long as what continues it."""
    stored, day = on.services.get(StoredResponses), 86_400
    now = stored._clock()
    old, first = await ask(on), await ask(on)
    await until_written(on)
    monkeypatch.setattr(stored, "_clock", lambda: now + 20 * day)
    second = await ask(on, previous_response_id=first["id"])
    await until_written(on)
    monkeypatch.setattr(stored, "_clock", lambda: now + 31 * day)
    assert await missing(on, old["id"])
    for each in (first, second):
        assert (await on.client.get(f"{ROUTE}/{each['id']}")).json() == each
    expired = ExpiredResponses(stored._database)
    assert await expired.sweep(now + 29 * day) == 0
    assert await expired.sweep(now + 31 * day) == 1
    assert await expired.sweep(now + 60 * day) == 2


async def test_all_kinds_of_text_come_back(on: Service, fake: FakeOllama) -> None:
    """NUL and what is beyond ASCII, on either database."""
    first = await ask(on, input="a\0 \u2028 \U0001f600 é")
    await ask(on, previous_response_id=first["id"])
    assert heard(fake)[0] == ("user", "a\0 \u2028 \U0001f600 é")


async def test_a_long_conversation_is_continued(on: Service, fake: FakeOllama) -> None:
    """All of it, in its order."""
    last: dict[str, Any] = {"id": None}
    for number in range(12):
        last = await ask(on, input=str(number), previous_response_id=last["id"])
    assert [text for role, text in heard(fake) if role == "user"] == [str(number) for number in range(12)]


async def test_a_client_that_leaves_stores_nothing(service: Service, fake: FakeOllama) -> None:
    """What it was asked with is let go of as well."""
    fake.hold()
    async with await begin(service, FAMILY, FAMILY.streamed) as client:
        fake.release(1)
        assert await client.head() == 200
        told = await asyncio.wait_for(client.chunk(), 20)
    async with asyncio.timeout(20):
        while service.admission.running:
            await asyncio.sleep(0.01)
    (created, *_) = events(told.decode())
    assert (await service.client.get(f"{ROUTE}/{created['response']['id']}")).status_code == 404
    assert service.services.get(ByteBudget).held == 0


@pytest.mark.parametrize(
    "mode", [Mode.ERROR_500, Mode.CUT_MID_STREAM, Mode.NO_DONE, Mode.HANG_BEFORE_HEADERS], ids=lambda mode: mode.name
)
async def test_what_fails_is_not_stored(fake: FakeOllama, serve: ServeFactory, mode: Mode) -> None:
    """Nor held."""
    fake.mode = mode
    async with serve(fake.url, first_byte_timeout=0.3) as service:
        answer = await service.client.post(ROUTE, json=FAMILY.streamed)
        assert (await in_ledger(service, answer))["outcome"] != "done"
        assert not service.services.get(KeptResponses).waiting
        assert service.services.get(ByteBudget).held == 0


async def test_a_database_that_is_away_keeps_no_answer_up(
    on: Service, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is answered meanwhile is stored when it is back; what is to be continued is read where that is possible."""
    monkeypatch.setattr(patient_writes, "_RETRY_AFTER", 0.1)
    first = await ask(on)
    await until_written(on)
    async with away(on, postgres):
        second = await ask(on)
        refused = await on.client.post(ROUTE, json={**ASKED, "previous_response_id": first["id"]})
        assert refused.status_code == (200 if on.services.get(Database).is_sqlite else 503)
    await until_written(on)
    assert (await on.client.get(f"{ROUTE}/{second['id']}")).json() == second
    assert on.services.get(KeptResponses).lost == 0


async def test_a_stop_waits_for_what_is_to_be_stored(fake: FakeOllama, serve: ServeFactory, database_url: str) -> None:
    """The next process has it."""
    async with serve(fake.url, database_url=database_url) as service:
        told = await ask(service)
    async with serve(fake.url, database_url=database_url) as service:
        assert (await service.client.get(f"{ROUTE}/{told['id']}")).json() == told


async def test_a_revoked_key_leaves_none(on: Service) -> None:
    """Its responses are deleted with those whose time has passed."""
    made = (await on.stranger.post("/api/admin/keys", json={"name": "passing"}, headers=ANOTHER)).json()
    with_key = {"X-API-Key": made["key"]}
    await on.stranger.post(ROUTE, json=ASKED, headers=with_key)
    await until_written(on)
    stored = on.services.get(StoredResponses)
    assert (await on.stranger.delete(f"/api/admin/keys/{made['id']}", headers=ANOTHER)).status_code == 200
    assert await ExpiredResponses(stored._database).sweep(stored._clock()) == 1


async def test_a_key_that_is_revoked_amid_its_answer_leaves_none(on: Service, fake: FakeOllama) -> None:
    """Neither that answer nor what it continues is kept for as long as those of a key that works."""
    made = (await on.stranger.post("/api/admin/keys", json={"name": "passing"}, headers=ANOTHER)).json()
    with_key = {"X-API-Key": made["key"]}
    first = (await on.stranger.post(ROUTE, json=ASKED, headers=with_key)).json()
    await until_written(on)
    fake.hold()
    continuing = on.stranger.post(ROUTE, json={**ASKED, "previous_response_id": first["id"]}, headers=with_key)
    asking = asyncio.create_task(continuing)
    await fake.wait_until(lambda: fake.active == 1)
    assert (await on.stranger.delete(f"/api/admin/keys/{made['id']}", headers=ANOTHER)).status_code == 200
    fake.release()
    assert (await asking).status_code == 200
    await until_written(on)
    stored = on.services.get(StoredResponses)
    assert await ExpiredResponses(stored._database).sweep(stored._clock()) == 1
    left = await on.stranger.delete(f"/api/admin/keys/{made['id']}/responses", headers=ANOTHER)
    assert left.json() == {"deleted": 0}


async def test_the_administrator_deletes_all_of_a_key(on: Service) -> None:
    """And nothing of another one; to an ordinary key the route is closed."""
    for _ in range(3):
        await ask(on)
    other = (await on.stranger.post(ROUTE, json=ASKED, headers=ANOTHER)).json()
    await until_written(on)
    path = "/api/admin/keys/settings:tester/responses"
    assert (await on.client.delete(path)).status_code == 403
    told = [(await on.stranger.delete(path, headers=ANOTHER)).json() for _ in range(2)]
    assert told == [{"deleted": 3}, {"deleted": 0}]
    assert (await on.stranger.get(f"{ROUTE}/{other['id']}", headers=ANOTHER)).status_code == 200


async def test_a_response_with_signs_of_life_is_stored(service: Service) -> None:
    """They stand beside it."""
    answer = await service.client.post(ROUTE, json=FAMILY.streamed, headers={"X-Progress": "true"})
    told = events(answer.text)[-1]["response"]
    assert (await service.client.get(f"{ROUTE}/{told['id']}")).json() == told


async def test_another_process_knows_it(fake: FakeOllama, serve: ServeFactory, postgres: Postgres) -> None:
    """Also where it is asked while the first one is still writing."""
    url = await asyncio.to_thread(postgres.empty)
    async with serve(fake.url, database_url=url) as one, serve(fake.url, database_url=url) as other:
        for _ in range(5):
            first = await ask(one)
            await ask(other, previous_response_id=first["id"])
            assert heard(fake)[0] == ("user", "One?")


@pytest.mark.parametrize("given", [5, True, {}, ["a"], "", None])
async def test_an_item_whose_id_is_none_gets_one(service: Service, given: Any) -> None:
    """Whatever a backend lets pass: a list that has been asked for is told."""
    told = await ask(service, input=[{"role": "user", "content": "One?", "id": given}])
    listed = await service.client.get(f"{ROUTE}/{told['id']}/input_items")
    assert listed.status_code == 200
    assert listed.json()["first_id"] == listed.json()["data"][0]["id"] == f"msg_{told['id'].removeprefix('resp_')}_0"
