"""What administrators do is noted before it is done and when it has ended, and is not done where it cannot be noted."""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from mlops_backend.config import ConfigError, load_settings
from mlops_backend.middleware.access import TABLE
from mlops_backend.middleware.audit import ACTIONS, AUDITED
from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service

ADMIN = {"X-API-Key": ADMIN_KEY}
WHO = {"principal": "admin", "key_id": "admin", "client": "127.0.0.1"}


@dataclass
class Audited:
    """A service with an audit log in a file, and the owner's routes open."""

    serve: ServeFactory
    fake: FakeOllama
    file: Path

    def __call__(self) -> AbstractAsyncContextManager[Service]:
        """Serve; all is written when it has ended."""
        return self.serve(self.fake.url, audit_log=str(self.file), allow_account_routes=True)

    @property
    def text(self) -> str:
        """All that was noted."""
        return self.file.read_text() if self.file.exists() else ""

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The same, line by line."""
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def ended(self) -> list[dict[str, Any]]:
        """The lines of what has ended."""
        return [line for line in self.lines if line["stage"] == "ended"]


@pytest.fixture
def audited(serve: ServeFactory, fake: FakeOllama, tmp_path: Path) -> Audited:
    """A service that is to be audited."""
    return Audited(serve, fake, tmp_path / "audit.log")


def path_of(route: str) -> str:
    """A path that the route takes."""
    return route.replace("<", "").replace(">", "").replace("path:", "")


async def ask(service: Service, method: str, path: str, **asked: Any) -> httpx.Response:
    """One request, by the administrator unless its headers say otherwise."""
    return await service.stranger.request(method, path, **{"headers": ADMIN, **asked})


async def test_a_key_from_its_making_to_its_end(audited: Audited) -> None:
    """Who did what to which key, which properties were set, how it ended; secrets are nowhere."""
    limits = {"requests": "5/minute"}
    async with audited() as service:
        made = (await ask(service, "POST", "/api/admin/keys", json={"name": "laptop", "limits": limits})).json()
        path = f"/api/admin/keys/{made['id']}"
        asked = {**ADMIN, "X-Request-ID": "mine"}
        assert (await ask(service, "PATCH", path, json={"owner": "alice"}, headers=asked)).status_code == 200
        rotated = (await ask(service, "POST", f"{path}/rotate", json={})).json()
        await ask(service, "DELETE", f"{path}/conversations")
        await ask(service, "DELETE", path)
        assert (await ask(service, "PATCH", path, json={"nonsense": 1})).status_code == 422
    lines, ended = audited.lines, audited.ended
    assert [(line["action"], line["outcome"], line["status"], line.get("changed", [])) for line in ended] == [
        ("key.create", "done", 201, ["limits", "name"]),
        ("key.update", "done", 200, ["owner"]),
        ("key.rotate", "done", 200, []),
        ("conversations.delete", "done", 200, []),
        ("key.revoke", "done", 200, []),
        ("key.update", "refused", 422, []),
    ]
    assert {line["target"] for line in ended} == {made["id"]}
    assert all(line.items() >= WHO.items() for line in lines)
    begun = [line for line in lines if line["stage"] == "begun"]
    assert [line["request_id"] for line in begun] == [line["request_id"] for line in ended]
    assert ended[1]["request_id"] == "mine"
    assert ended[5]["error"] == "validation_error"
    for secret in (made["key"], rotated["key"], ADMIN_KEY, "alice", "5/minute"):
        assert secret not in audited.text


async def test_a_line_is_there_before_anything_is_done(audited: Audited) -> None:
    """Who has the service killed amid an action finds that it was begun."""
    async with audited() as service:
        audited.fake.hold()
        asking = asyncio.create_task(ask(service, "POST", "/api/pull", json={"model": "new"}))
        async with asyncio.timeout(20):
            while not [request for request in audited.fake.requests if request.path == "/api/pull"]:
                await asyncio.sleep(0.005)
        (line,) = audited.lines
        audited.fake.release()
        await asking
    assert (line["stage"], line["action"]) == ("begun", "model.pull")
    assert [(each["target"], each["outcome"]) for each in audited.ended] == [("new", "done")]


async def test_models_backends_and_the_log(audited: Audited) -> None:
    """What is done to them, by its name; an administrator who ends a generation of another is noted too."""
    url = audited.fake.url
    async with audited() as service:
        await ask(service, "POST", "/api/pull", json={"model": "new", "stream": False})
        await ask(service, "POST", "/api/copy", json={"source": "llama3", "destination": "other"})
        await ask(service, "DELETE", "/api/delete", json={"model": "llama3"})
        for word in ("drain", "resume", "probe"):
            assert (await ask(service, "POST", f"/api/admin/backends/{url}/{word}")).status_code == 200
        await ask(service, "PUT", "/api/admin/log-level", json={"level": "DEBUG"})
        await ask(service, "DELETE", "/api/llm/generations/of-another")
    assert [(line["action"], line["target"], line["outcome"]) for line in audited.ended] == [
        ("model.pull", "new", "done"),
        ("model.copy", "llama3", "done"),
        ("model.delete", "llama3", "done"),
        ("backend.drain", url, "done"),
        ("backend.resume", url, "done"),
        ("backend.probe", url, "done"),
        ("log_level.set", "DEBUG", "done"),
        ("generation.cancel", "of-another", "refused"),
    ]


async def test_an_end_of_another_keys_stream(audited: Audited) -> None:
    """An administrator's is noted, by the request's id: who reads the file may not read the stream; no key's own is."""
    headers = {"X-API-Key": ORDINARY_KEY}
    async with audited() as service:
        audited.fake.hold()
        theirs, own = [
            (
                await ask(
                    service, "POST", "/api/llm/streams", json={"model": "llama3", "prompt": "Hi"}, headers=headers
                )
            ).json()
            for _ in range(2)
        ]
        for by, stream in ((ADMIN, theirs), (headers, own)):
            assert (await ask(service, "DELETE", stream["url"], headers=by)).json() == {"ended": 1}
        audited.fake.release()
    assert [(line["action"], line.get("target")) for line in audited.lines] == [
        ("stream.end", None),
        ("stream.end", theirs["request_id"]),
    ]
    assert theirs["id"] not in audited.text


async def test_who_may_not_is_noted(audited: Audited) -> None:
    """Each attempt of an ordinary key on an administrator's route, to read too; nothing that it may do."""
    headers = {"X-API-Key": ORDINARY_KEY}
    async with audited() as service:
        await ask(service, "GET", "/api/admin/keys", headers=headers)
        await ask(service, "POST", "/api/pull", json={"model": "x"}, headers=headers)
        await ask(service, "GET", "/api/tags", headers=headers)
        await ask(service, "DELETE", "/api/llm/generations/own", headers=headers)
        await ask(service, "POST", "/api/admin/keys", json={"name": "x"}, headers={"X-API-Key": "wrong"})
    lines = audited.lines
    assert [(line["action"], line["status"], line["stage"], line["key_id"]) for line in lines] == [
        ("GET /api/admin/keys", 403, "ended", "settings:tester"),
        ("model.pull", 403, "ended", "settings:tester"),
    ]
    assert lines[0]["error"] == "forbidden"


async def test_what_an_administrator_reads_is_not_noted(audited: Audited) -> None:
    """Nor what is not an administrator's."""
    async with audited() as service:
        for path in ("/api/admin/keys", "/api/admin/backends", "/metrics", "/api/tags", "/api/admin/log-level"):
            assert (await ask(service, "GET", path)).status_code == 200
        await ask(service, "POST", "/api/generate", json={"model": "llama3", "prompt": "Hi"})
    assert audited.lines == []


async def test_what_cannot_be_noted_is_not_done(serve: ServeFactory, fake: FakeOllama, tmp_path: Path) -> None:
    """Each audited route is 503 before anything happens, and works again once there is room for its line."""
    folder = tmp_path / "folder"
    folder.mkdir()
    async with serve(fake.url, audit_log=str(folder / "audit.log"), allow_account_routes=True) as service:
        folder.rmdir()
        seen = len(fake.requests)
        routes = [(method, route) for method, route in ACTIONS if TABLE[route][method] in AUDITED]
        for method, route in routes:
            answer = await ask(service, method, path_of(route), json={"name": "x", "model": "llama3", "level": "DEBUG"})
            assert (answer.status_code, answer.json()["code"]) == (503, "audit_unavailable"), route
        asked = [request.path for request in fake.requests[seen:]]
        assert set(asked) <= {"/api/version", "/api/tags"}
        assert (await ask(service, "GET", "/api/admin/keys")).json()["keys"] == []
        assert (await ask(service, "GET", "/api/admin/log-level")).json()["level"] == "INFO"
        assert (
            await ask(service, "POST", "/api/generate", json={"model": "llama3", "prompt": "Hi"})
        ).status_code == 200
        folder.mkdir()
        assert (await ask(service, "POST", "/api/admin/keys", json={"name": "x"})).status_code == 201
    assert len(routes) == len(ACTIONS) - 3


async def test_without_a_file_it_is_in_the_ordinary_log(
    serve: ServeFactory, fake: FakeOllama, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line for each action, whatever the level: nobody hides what they do by a change of it."""
    async with serve(fake.url, log_level="CRITICAL") as service:
        await ask(service, "PUT", "/api/admin/log-level", json={"level": "ERROR"})
        made = (await ask(service, "POST", "/api/admin/keys", json={"name": "x"})).json()
        await ask(service, "GET", "/api/admin/keys", headers={"X-API-Key": ORDINARY_KEY})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["event"], line["action"], line["outcome"]) for line in lines] == [
        ("audit", "log_level.set", "done"),
        ("audit", "key.create", "done"),
        ("audit", "GET /api/admin/keys", "refused"),
    ]
    assert lines[1]["target"] == made["id"]


def test_a_file_that_cannot_be_is_refused_at_the_start(tmp_path: Path) -> None:
    """A folder, and a file whose folder is not there."""
    for path, words in ((tmp_path, "must be a file"), (tmp_path / "a" / "b", "its folder is not there")):
        with pytest.raises(ConfigError, match=f"AUDIT_LOG: {words}"):
            load_settings(None, audit_log=str(path))
