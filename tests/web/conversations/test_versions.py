"""Versions: every change makes one, `ETag` tells it, and `If-Match` keeps two writers from each other's changes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.ollama import FakeOllama
from tests.service import Service
from tests.web.talk import BASE, begin, heard, kept, message, read
from tests.web.test_status_table import assert_error

CHANGES: dict[str, tuple[str, str, Any]] = {
    "change": ("PATCH", "", {"title": "x"}),
    "append": ("POST", "/append", {"messages": [message("user", "x")]}),
    "cut": ("POST", "/truncate", {"after": None}),
    "say": ("POST", "/messages", {"content": "x"}),
    "again": ("POST", "/regenerate", {}),
    "delete": ("DELETE", "", None),
}
FITTING = {"equal": '"{}"', "weak": 'W/"{}"', "any": "*", "in a list": '"1000", W/"{}", "x"', "without quotes": "{}"}
OTHER = {
    "older": '"1"',
    "newer": '"3"',
    "a weak older one": 'W/"1"',
    "a list": '"1", "3", W/"20"',
    "no version": '"x"',
    "a longer one": '"02"',
    "a sign": '"+2"',
    "nothing": "",
    "garbage": "%%% ,,",
}
every_change = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)


async def ask(service: Service, conversation_id: str, change: tuple[str, str, Any], *wanted: str) -> Any:
    """Make a change with as many `If-Match` lines as are wanted."""
    method, path, body = change
    headers = [("If-Match", value) for value in wanted]
    return await service.client.request(method, f"{BASE}/{conversation_id}{path}", json=body, headers=headers)


@every_change
async def test_a_change_of_another_version_is_refused(
    service: Service, fake: FakeOllama, change: tuple[str, str, Any]
) -> None:
    """412 whatever it names instead of the version: nothing changes, no model is asked."""
    made = await begin(service, message("user", "Hi"))
    await service.client.patch(f"{BASE}/{made['id']}", json={"title": "at version 2"})
    before = await kept(service)
    for name, value in OTHER.items():
        answer = await ask(service, made["id"], change, value)
        error = assert_error(answer, 412, "precondition_failed")
        assert error["error"] == "The conversation has changed since: it is at version 2 now.", name
    assert await kept(service) == before
    assert heard(fake) == []


@pytest.mark.parametrize("value", FITTING.values(), ids=FITTING)
async def test_a_change_of_the_version_is_made(service: Service, value: str) -> None:
    """Each kind of change with each way to name the version; what is answered is the next one."""
    made = await begin(service, message("user", "Hi"))
    for change in CHANGES.values():
        version = (await read(service, made["id"]))["version"]
        answer = await ask(service, made["id"], change, value.format(version))
        assert answer.is_success, answer.text
        if change[0] == "DELETE":
            assert "etag" not in answer.headers
        else:
            assert answer.headers["etag"] == f'"{version + 1}"'
        if change[1] == "/truncate":
            await ask(service, made["id"], CHANGES["append"])


async def test_a_reply_is_made_anew_once(service: Service) -> None:
    """Two clicks ask for the same version: the second one is refused, and costs nothing."""
    made = await begin(service, message("user", "Hi"))
    answers = [await ask(service, made["id"], CHANGES["again"], '"1"') for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 412]


async def test_several_lines_are_one_list(service: Service) -> None:
    """`If-Match` may come in several lines: any of them may name the version."""
    made = await begin(service)
    assert (await ask(service, made["id"], CHANGES["change"], '"7"', '"1"')).status_code == 200
    assert (await ask(service, made["id"], CHANGES["change"], '"7"', '"1"')).status_code == 412


async def test_without_it_every_version_is_changed(service: Service) -> None:
    """Who names none wins: each committed change is one version more."""
    made = await begin(service)
    for version in range(2, 6):
        answer = await ask(service, made["id"], CHANGES["append"])
        assert (answer.json()["version"], answer.headers["etag"]) == (version, f'"{version}"')
    assert (await read(service, made["id"]))["version"] == 5


async def test_what_does_not_exist_has_no_version(service: Service) -> None:
    """404 comes before 412, and a body that is wrong before both."""
    for change in CHANGES.values():
        assert_error(await ask(service, "0" * 32, change, '"1"'), 404, "not_found")
    made = await begin(service)
    wrong = await ask(service, made["id"], ("PATCH", "", {"title": 7}), '"9"')
    assert_error(wrong, 422, "validation_error")


async def test_pages_of_other_origins_may_use_them(service: Service) -> None:
    """CORS: a preflight allows `If-Match`, and the answer's headers may be read."""
    origin = {"Origin": "http://localhost:3000"}
    asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "if-match,x-api-key"}
    preflight = await service.stranger.options(f"{BASE}/{'0' * 32}", headers={**origin, **asked})
    assert preflight.status_code == 200
    allowed = preflight.headers["access-control-allow-headers"].lower()
    assert {name.strip() for name in allowed.split(",")} == {"if-match", "x-api-key"}
    assert "PATCH" in preflight.headers["access-control-allow-methods"]
    answer = await service.client.post(BASE, json={}, headers=origin)
    exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert exposed >= {"ETag", "Location", "X-Message-ID", "X-Reply-ID", "X-Omitted-Messages"}
