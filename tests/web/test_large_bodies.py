"""Bodies of megabytes: read beside the event loop, with the same results as small ones."""

from __future__ import annotations

import json
import threading
from types import ModuleType
from typing import Any

import pytest

from mlops_backend.middleware import drop_in, json_body
from tests.conftest import ServeFactory
from tests.e2e.raw_client import RawClient
from tests.e2e.test_resources import eventually
from tests.fakes.ollama import FakeOllama
from tests.fakes.openai_server import FakeOpenAI
from tests.service import ORDINARY_KEY, Service

LINES = 'a line of a log, with a \\ and a "mark"\n' * 100_000
SMALL: dict[str, Any] = {"model": "llama3", "stream": False}
ONE = [{"role": "user", "content": "Hi"}]
BODIES: dict[str, dict[str, Any]] = {
    "/api/generate": {**SMALL, "prompt": LINES},
    "/api/llm/generate": {"model": "llama3", "prompt": LINES},
    "/api/chat": {**SMALL, "messages": [{"role": "user", "content": LINES[:100]}] * 20_000},
    "/v1/chat/completions": {**SMALL, "messages": [{"role": "user", "content": LINES}]},
}


@pytest.mark.parametrize("path", BODIES)
async def test_the_backend_gets_all_of_it(path: str, service: Service, fake: FakeOllama) -> None:
    """Whatever way it was read."""
    answer = await service.client.post(path, content=json.dumps(BODIES[path]).encode())
    assert answer.status_code == 200, answer.text
    recorded = await fake.wait_for_request(path.replace("/api/llm/", "/api/"))
    assert {**json.loads(recorded.body), "stream": False} == {**BODIES[path], "stream": False}


@pytest.mark.parametrize(
    ("module", "reader", "path"),
    [(drop_in, "read_asked", "/api/generate"), (json_body, "parse_json", "/api/llm/generate")],
)
async def test_only_a_large_one_is_read_in_another_thread(
    module: ModuleType, reader: str, path: str, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small one would wait longer for that than it takes."""
    threads: list[threading.Thread] = []
    read = getattr(module, reader)

    def seen(*args: Any) -> Any:
        threads.append(threading.current_thread())
        return read(*args)

    monkeypatch.setattr(module, reader, seen)
    for body in ({**SMALL, "prompt": "Hi"}, BODIES[path]):
        assert (await service.client.post(path, content=json.dumps(body).encode())).status_code == 200
    here = threading.current_thread()
    assert [thread is here for thread in threads] == [True, False]


@pytest.mark.parametrize("path", ["/api/llm/chat", "/v1/chat/completions"])
async def test_what_is_wrong_is_told_in_the_same_words(path: str, serve: ServeFactory) -> None:
    """Broken JSON is refused alike, be it small or large."""
    async with FakeOpenAI() as fake, serve(openai_backends=fake.url) as service:
        told = []
        for size in (10, 600_000):
            body = b'{"model":"llama3","messages":["' + b"x" * size + b'"'
            answer = await service.client.post(path, content=body, headers={"Content-Type": "application/json"})
            error = answer.json()["error"]
            told.append(
                (answer.status_code, (error if isinstance(error, str) else error["message"]).partition(" at ")[0])
            )
    assert told[0] == told[1]
    assert told[0][0] == 400


@pytest.mark.parametrize("path", BODIES)
async def test_too_many_values_are_refused(path: str, serve: ServeFactory, fake: FakeOllama) -> None:
    """The answer names the setting; marks in texts are no values."""
    async with serve(fake.url, max_json_values=1000) as service:
        fits = json.dumps({**SMALL, "prompt": "[1, 2]" * 100_000, "messages": ONE}).encode()
        assert (await service.client.post(path, content=fits)).status_code == 200
        over = json.dumps(
            {**SMALL, "prompt": "x" * 600_000, "messages": [{"role": "user", "content": "x"}] * 200}
        ).encode()
        answer = await service.client.post(path, content=over)
        assert answer.status_code == 400
        assert "MAX_JSON_VALUES" in answer.text


async def test_a_client_that_leaves_meanwhile_takes_nothing_along(service: Service, fake: FakeOllama) -> None:
    """Its body is let go, and the next one's is read."""
    body = json.dumps(BODIES["/api/chat"]).encode()
    head = f"POST /api/chat HTTP/1.1\r\nHost: x\r\nX-API-Key: {ORDINARY_KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    for _ in range(3):
        async with await RawClient.connect(service.url) as client:
            await client.send(head.encode() + body)
            await client.reset()
    await eventually(lambda: service.admission.running == service.upstream.active == 0)
    assert (await service.client.post("/api/chat", content=body)).status_code == 200
