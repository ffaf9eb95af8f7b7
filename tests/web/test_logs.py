"""One line a request, at its real end, without prompts and keys."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.conftest import ServeFactory
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.service import ADMIN_KEY, ORDINARY_KEY, Service

SECRET_PROMPT = "a prompt that nobody may read"


def requests_in(logs: list[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    """The lines of finished requests."""
    return [entry for entry in logs if entry["event"] == "request"]


async def test_a_stream_is_logged_once_at_its_end(service: Service, fake: FakeOllama) -> None:
    """Nothing is written while a stream runs; then one line with model, backend, counts and times."""
    fake.hold()
    fake.release(1)
    with capture_logs() as logs:
        body = {"model": "llama3", "prompt": SECRET_PROMPT}
        async with service.client.stream("POST", "/api/llm/stream", json=body) as answer:
            pass_on = answer.aiter_raw()
            await anext(pass_on)
            assert requests_in(logs) == []
            fake.release()
            async for _ in pass_on:
                pass
        await service.client.get("/health")
        stream, _ = requests_in(logs)
    assert stream["request_id"] == answer.headers["x-request-id"]
    assert (stream["method"], stream["route"], stream["status"]) == ("POST", "/api/llm/stream", 200)
    assert (stream["outcome"], stream["principal"], stream["client"]) == ("done", "tester", "127.0.0.1")
    assert (stream["model"], stream["backend"]) == ("llama3", fake.url)
    assert stream["completion_tokens"] == len(DEFAULT_WORDS)
    assert stream["prompt_tokens"] == len(SECRET_PROMPT.split())
    assert 0 <= stream["queue_ms"] <= stream["first_byte_ms"] <= stream["total_ms"]


async def test_a_whole_answer_is_logged_with_its_times(service: Service) -> None:
    """A call that is not streamed has the same fields as a stream."""
    with capture_logs() as logs:
        await service.client.post("/api/llm/chat", json={"messages": [{"role": "user", "content": "Hi"}]})
    (entry,) = requests_in(logs)
    assert (entry["route"], entry["outcome"], entry["model"]) == ("/api/llm/chat", "done", "llama3:latest")
    assert entry["completion_tokens"] == len(DEFAULT_WORDS)
    assert 0 <= entry["queue_ms"] <= entry["first_byte_ms"] <= entry["total_ms"]


async def test_no_prompt_and_no_key_is_written(
    capsys: pytest.CaptureFixture[str], serve: ServeFactory, fake: FakeOllama
) -> None:
    """Whatever goes wrong, neither the prompt nor a key nor the answer is in the log."""
    async with serve(fake.url) as service:
        body = {"model": "llama3", "prompt": SECRET_PROMPT, "options": {"temperature": SECRET_PROMPT}}
        await service.client.post("/api/llm/generate", json=body)
        await service.stranger.get(f"/no/{ORDINARY_KEY}", headers={"X-API-Key": ADMIN_KEY})
        for fake.mode in (mode for mode in Mode if "HANG" not in mode.name and "SLOW" not in mode.name):
            for route in ("generate", "stream"):
                await service.client.post(f"/api/llm/{route}", json={"model": "llama3", "prompt": SECRET_PROMPT})
    written = "".join(capsys.readouterr())
    assert written.count('"event":"request"') > 20
    for secret in (SECRET_PROMPT, ADMIN_KEY, ORDINARY_KEY, DEFAULT_WORDS[0].strip()):
        assert secret not in written
    for line in written.splitlines():
        json.loads(line)


async def test_a_failed_call_tells_the_address_it_tried(serve: ServeFactory) -> None:
    """The log has the upstream's URL, without its credentials."""
    async with serve("http://user:hidden@127.0.0.1:9/base") as service:
        with capture_logs() as logs:
            answer = await service.client.post("/api/llm/generate", json={"model": "m", "prompt": "Hi"})
    assert answer.status_code == 502
    (entry,) = requests_in(logs)
    assert entry["upstream_url"] == "http://127.0.0.1:9/base/api/generate"
    assert (entry["error"], entry["outcome"], entry["log_level"]) == ("backend_refused", "error", "warning")
    assert "hidden" not in str(logs)


async def test_how_an_answer_of_our_own_ended_is_told(serve: ServeFactory, fake: FakeOllama) -> None:
    """Not each 5xx is an `error`: a clock that ran out is a `timeout`, and what a drain refuses is `drained`."""
    fake.probe_mode = Mode.HANG_BEFORE_HEADERS
    async with serve(fake.url, first_byte_timeout=0.2) as service:
        with capture_logs() as logs:
            late = await service.client.get("/api/version")
            await service.admission.drain(0)
            refused = await service.client.post("/api/llm/generate", json={"model": "llama3", "prompt": "Hi"})
    assert (late.status_code, refused.status_code) == (504, 503)
    assert [entry["outcome"] for entry in requests_in(logs)] == ["timeout", "drained"]


async def test_the_client_behind_a_trusted_proxy_is_named(serve: ServeFactory, fake: FakeOllama) -> None:
    """`X-Forwarded-For` counts only from a trusted peer, and only its nearest untrusted address."""
    headers = {"X-Forwarded-For": "6.6.6.6, 203.0.113.7, 10.0.0.2"}
    for trusted, expected in (("", "127.0.0.1"), ("127.0.0.1,10.0.0.0/8", "203.0.113.7")):
        async with serve(fake.url, trusted_proxies=trusted) as service:
            with capture_logs() as logs:
                await service.client.get("/health", headers=headers)
        assert requests_in(logs)[0]["client"] == expected


async def test_a_client_that_leaves_is_logged_as_gone(service: Service, fake: FakeOllama) -> None:
    """A stream whose client disappears ends with the outcome `client_gone`."""
    fake.hold()
    fake.release(1)
    with capture_logs() as logs:
        async with service.client.stream("POST", "/api/llm/stream", json={"prompt": "Hi"}) as answer:
            await anext(answer.aiter_raw())
        await fake.wait_for_disconnect()
        await service.client.get("/health")
        (entry, _) = requests_in(logs)
    assert (entry["outcome"], entry["status"]) == ("client_gone", 200)
