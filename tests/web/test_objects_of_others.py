"""What belongs to a key does not exist for another one: every route that names a thing, from the table of routes."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest

from mlops_backend.middleware.access import TABLE, Access
from tests.conftest import ServeFactory
from tests.e2e.test_resources import eventually
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service
from tests.web.talk import BASE, JPEG, PNG, begin, encoded, heard, kept, message

OTHER: Final = {"X-API-Key": "key-of-somebody-else"}
OWNED: Final = {
    "/api/usage/generations/<generation_id>",
    f"{BASE}/<conversation_id>",
    f"{BASE}/<conversation_id>/append",
    f"{BASE}/<conversation_id>/truncate",
    f"{BASE}/<conversation_id>/messages",
    f"{BASE}/<conversation_id>/regenerate",
    f"{BASE}/<conversation_id>/export",
    f"{BASE}/<conversation_id>/images/<image_hash>",
    "/v1/responses/<response_id>",
    "/v1/responses/<response_id>/input_items",
}
# Routes that name something which belongs to no key, with the reason.
NOBODYS: Final = {
    "/docs/assets/<path:filename>": "files of the documentation",
    "/console/assets/<build>/<path:filename>": "files of the console",
    "/api/llm/streams/<stream_id>": "whoever has the address may read it: it is the key",
    "/api/llm/generations/<request_id>": "it must run; tests/web/llm/test_generations.py",
    "/api/blobs/<digest>": "blobs belong to the backend",
    "/api/user/keys/<key>": "keys of the backend's own account",
    "/v1/models/<path:model>": "the backend's; tests/web/dialects/test_model_lists.py has a key's own list",
}
METHODS: Final = {(rule, method) for rule in OWNED for method in TABLE[rule] if method != "HEAD"}
HASH: Final = sha256(PNG).hexdigest()
BODIES: Final[dict[str, Any]] = {
    "append": {"messages": [message("user", "x")]},
    "truncate": {"after": None},
    "messages": {"content": "x"},
    "regenerate": {},
}


def test_every_route_that_names_a_thing_is_known_here() -> None:
    """It is the administrator's, nobody's with a reason, or tested below."""
    named = {rule for rule, methods in TABLE.items() if "<" in rule and Access.ADMIN not in methods.values()}
    assert named == {*OWNED, *NOBODYS}


async def things(service: Service) -> dict[str, tuple[str, str]]:
    """By each name in the rules: a thing of the tester's, and how one would be called that never was."""
    made = await service.client.post("/api/generate", json={"model": "llama3", "prompt": "x", "stream": False})
    talk = await begin(service, message("user", "zebra", images=[encoded(PNG)]))
    response = await service.client.post("/v1/responses", json={"model": "llama3", "input": "x"})
    await eventually(lambda: service.admission.running == 0)
    return {
        "<generation_id>": (quote(made.headers["X-Request-ID"]), "0" * 32),
        "<conversation_id>": (talk["id"], "0" * 32),
        "<image_hash>": (HASH, HASH),
        "<response_id>": (response.json()["id"], "resp_" + "0" * 48),
    }


@pytest.mark.parametrize(("rule", "method"), sorted(METHODS))
async def test_another_keys_thing_is_not_there(serve: ServeFactory, fake: FakeOllama, rule: str, method: str) -> None:
    """404, word for word as for one that never was, and nothing happens to it; to its own key it is there."""
    async with serve(fake.url, api_keys=f"tester:{ORDINARY_KEY},other:{OTHER['X-API-Key']}") as service:
        theirs = unknown = rule
        for name, (thing, nothing) in (await things(service)).items():
            theirs, unknown = theirs.replace(name, thing), unknown.replace(name, nothing)
        body = BODIES.get(rule.rpartition("/")[2], {"title": "x"}) if method in {"POST", "PATCH"} else None

        async def ask(path: str, **headers: str) -> httpx.Response:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await service.stranger.request(method, path, json=body, headers=named)

        before = await kept(service)
        refused, never = await ask(theirs, **OTHER), await ask(unknown, **OTHER)
        conditional = await ask(theirs, **OTHER, If_Match='"9"')
        administrator = await ask(theirs, X_API_Key=ADMIN_KEY)
        assert await kept(service) == before
        assert heard(fake) == []
        assert (await ask(theirs, X_API_Key=ORDINARY_KEY)).is_success
    for answer in (refused, conditional, administrator):
        assert answer.status_code == never.status_code == 404
        assert {**answer.json(), "request_id": ""} == {**never.json(), "request_id": ""}
        assert "etag" not in answer.headers


async def test_another_keys_conversations_are_in_no_list(serve: ServeFactory, fake: FakeOllama) -> None:
    """Neither in a page, with whatever cursor, nor in a search, nor in an export; nor can its messages be cut at."""
    async with serve(fake.url, api_keys=f"tester:{ORDINARY_KEY},other:{OTHER['X-API-Key']}") as service:
        secret = message("user", "zebra and okapi", images=[encoded(JPEG)])
        made = [await begin(service, secret, title=f"zebra {number}") for number in range(3)]
        own = await service.stranger.post(BASE, json={"messages": [message("user", "gnu")]}, headers=OTHER)
        for query in ({}, {"after": f"{'9' * 18}-{'f' * 32}"}, {"search": "gnu"}, {"search": "gnu*"}):
            listed = (await service.stranger.get(BASE, params=query, headers=OTHER)).json()
            assert [each["id"] for each in listed["conversations"]] == [own.json()["id"]], query
            assert listed["next"] is None
        for search in ("zebra", "zeb*", '"zebra and okapi"', "zebra gnu", "tester", "settings"):
            listed = (await service.stranger.get(BASE, params={"search": search}, headers=OTHER)).json()
            assert listed == {"conversations": [], "next": None}, search
        for path in ("/export", "/export?format=markdown", f"/{own.json()['id']}/export"):
            answer = await service.stranger.get(BASE + path, headers=OTHER)
            assert answer.status_code == 200
            assert "gnu" in answer.text
            assert not [word for word in ("zebra", "okapi", made[0]["id"], encoded(JPEG)) if word in answer.text]
        cut = {"after": made[0]["messages"][0]["id"]}
        url = f"{BASE}/{own.json()['id']}"
        assert (await service.stranger.post(f"{url}/truncate", json=cut, headers=OTHER)).status_code == 404
        image = f"{url}/images/{sha256(JPEG).hexdigest()}"
        assert (await service.stranger.get(image, headers=OTHER)).status_code == 404


async def test_only_the_administrator_deletes_all_of_a_key(serve: ServeFactory, fake: FakeOllama) -> None:
    """All that it has, also where it was revoked; nothing of another one; to an ordinary key the route is closed."""
    async with serve(fake.url, api_keys=f"tester:{ORDINARY_KEY},other:{OTHER['X-API-Key']}") as service:
        for number in range(3):
            await begin(service, message("user", f"{number}", images=[encoded(PNG)]))
        left = await service.stranger.post(BASE, json={"messages": [message("user", "x")]}, headers=OTHER)
        path = "/api/admin/keys/settings:tester/conversations"
        assert (await service.client.delete(path)).status_code == 403
        told = [await service.stranger.delete(path, headers={"X-API-Key": ADMIN_KEY}) for _ in range(2)]
        assert [answer.json() for answer in told] == [{"deleted": 3}, {"deleted": 0}]
        there = await kept(service)
        assert [row["id"] for row in there["conversations"]] == [left.json()["id"]]
        assert (len(there["messages"]), there["images"]) == (2, [])
