"""Limits of each of the people behind a key, over the routes."""

from __future__ import annotations

from typing import Any, Final

import httpx
import pytest

from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama, Mode
from tests.service import ADMIN_KEY, Service

ADMIN: Final = {"X-API-Key": ADMIN_KEY}
PROMPT: Final = {"model": "llama3", "prompt": "Hi"}
CHAT: Final[dict[str, Any]] = {"model": "llama3", "messages": [{"role": "user", "content": "Hi"}]}


async def made(service: Service, **fields: Any) -> dict[str, str]:
    """The header of a new key with these fields."""
    answer = await service.stranger.post("/api/admin/keys", json={"name": "front end", **fields}, headers=ADMIN)
    assert answer.status_code == 201, answer.text
    return {"X-API-Key": answer.json()["key"]}


async def asked(service: Service, key: dict[str, str], whom: str, path: str = "/api/llm/generate") -> httpx.Response:
    """What one of the people is answered."""
    return await service.stranger.post(path, json=PROMPT, headers={**key, "X-End-User": whom})


async def test_one_person_leaves_the_others_theirs(service: Service) -> None:
    """One too many is 429, before a backend hears of it; the next person is served, by the body's word too."""
    key = await made(service, limits={"requests": "4/hour"}, end_user_limits={"requests": "2/hour"})
    first = [await asked(service, key, "alice") for _ in range(3)]
    assert [answer.status_code for answer in first] == [200, 200, 429]
    assert '"requests";r=2' in first[1].headers["RateLimit"]
    assert '"end_user_requests";r=0' in first[1].headers["RateLimit"]
    assert first[2].json()["error"].startswith("The limit 'end_user_requests' of this key is reached: 2/hour.")
    assert first[2].headers["Retry-After"] == "1800"
    said = {**CHAT, "user": "bob"}
    others = [await service.stranger.post("/v1/chat/completions", json=said, headers=key) for _ in range(3)]
    assert [answer.status_code for answer in others] == [200, 200, 429]
    assert "'requests' of this key" in (await asked(service, key, "carol")).json()["error"]


@pytest.mark.parametrize(
    "mode", [Mode.CUT_MID_STREAM, Mode.CLOSE_BEFORE_HEADERS, Mode.ERROR_FIRST_LINE, Mode.NOT_FOUND_MODEL]
)
async def test_every_end_gives_back(service: Service, fake: FakeOllama, mode: Mode) -> None:
    """Of a key and a person that may have one at a time, the next can always begin."""
    key = await made(service, limits={"concurrent": 1}, end_user_limits={"concurrent": 1, "tokens": "100000/day"})
    for each in (mode, Mode.NORMAL, mode, Mode.NORMAL):
        fake.mode = each
        answer = await asked(service, key, "alice", "/api/llm/stream")
        assert answer.status_code != 429, answer.text


async def test_a_stream_is_counted_once(service: Service) -> None:
    """When it is begun, for the person who begins it, and not when it is read."""
    key = await made(service, end_user_limits={"requests": "2/hour", "tokens_per_day": 100_000})
    headers = {**key, "X-End-User": "alice"}
    begun = await service.stranger.post("/api/llm/streams", json=PROMPT, headers=headers)
    assert '"end_user_requests";r=1' in begun.headers["RateLimit"]
    assert (await service.stranger.get(begun.json()["url"])).status_code == 200
    statuses = [(await asked(service, key, whom)).status_code for whom in ("alice", "alice", "bob")]
    assert statuses == [200, 429, 200]


async def test_a_large_body_is_refused_before_it_comes(service: Service) -> None:
    """As by the key's own limits, where a header names the person; whom the body names is asked when it is here."""
    key = await made(service, end_user_limits={"requests": "1/hour"})
    large = {**CHAT, "messages": [{"role": "user", "content": "x" * 2_000_000}]}
    for whom, user, status in (
        ("", "", 200),
        ("alice", "", 200),
        ("alice", "bob", 429),
        ("bob", "", 200),
        ("", "carol", 200),
        ("", "carol", 429),
        ("", "", 429),
    ):
        body = {**large, "user": user}
        answer = await service.stranger.post("/v1/chat/completions", json=body, headers={**key, "X-End-User": whom})
        assert answer.status_code == status, (whom, user)


async def test_a_budget_survives_a_restart(
    serve: ServeFactory, fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It begins with what the ledger has of that person, and of no other."""
    url = f"sqlite:///{tmp_path_factory.mktemp('budget')}/ledger.db"
    async with serve(fake.url, database_url=url) as service:
        key = await made(service, end_user_limits={"tokens_per_day": 1000})
        used: dict[str, int] = {}
        for whom in ("alice", "bob", "alice"):
            told = (await asked(service, key, whom)).json()
            used[whom] = used.get(whom, 0) + told["prompt_eval_count"] + told["eval_count"]
    async with serve(fake.url, database_url=url) as service:
        for whom in ("alice", "bob"):
            answer = await service.stranger.post(
                "/api/generate",
                json={**PROMPT, "stream": False, "options": {"num_predict": 5000}},
                headers={**key, "X-End-User": whom},
            )
            assert answer.status_code == 200
            cut = fake.requests[-1].json()["options"]["num_predict"]
            assert 1000 - used[whom] - 20 < cut < 1000 - used[whom]


async def test_a_misspelt_limit_is_refused(service: Service) -> None:
    """It would be none."""
    wrongs: tuple[object, ...] = ({"requets": "1/hour"}, {"requests": "1/fortnight"}, {"concurrent": 0}, [])
    for wrong in wrongs:
        body = {"name": "a", "end_user_limits": wrong}
        answer = await service.stranger.post("/api/admin/keys", json=body, headers=ADMIN)
        assert answer.status_code == 422
        assert answer.json()["details"][0]["loc"][0] == "end_user_limits"
