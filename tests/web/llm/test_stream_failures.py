"""Streams whose backend fails after the first byte: the client always learns of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.conftest import ServeFactory
from tests.fakes.ollama import FakeOllama, Mode
from tests.service import Service

PROMPT = {"model": "llama3", "prompt": "Hi"}
ENDS = {
    Mode.CUT_MID_STREAM: ("backend_vanished", "error"),
    Mode.NO_DONE: ("stream_incomplete", "error"),
    Mode.HANG_MID_STREAM: ("idle_timeout", "timeout"),
}


async def stream_of(service: Service, accept: str = "*/*") -> str:
    """The text of one stream."""
    answer = await service.client.post("/api/llm/stream", json=PROMPT, headers={"Accept": accept})
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize("mode", ENDS, ids=lambda mode: mode.name)
async def test_the_last_line_tells_the_error(serve: ServeFactory, fake: FakeOllama, mode: Mode) -> None:
    """After the first byte a failure is one last line with `error` and `code`; every line before it is whole."""
    fake.mode = mode
    code, outcome = ENDS[mode]
    async with serve(fake.url, idle_timeout=0.2) as service:
        with capture_logs() as logs:
            lines: list[dict[str, Any]] = [json.loads(line) for line in (await stream_of(service)).split("\n") if line]
        assert [line.get("done") for line in lines[:-1]] == [False] * (len(lines) - 1)
        assert len(lines) > 1
        assert lines[-1]["code"] == code
        assert lines[-1]["error"]
        (entry,) = [entry for entry in logs if entry["event"] == "request"]
        assert (entry["outcome"], entry["error"], entry["status"]) == (outcome, code, 200)
        assert lines[-1]["request_id"] == entry["request_id"]


@pytest.mark.parametrize("mode", ENDS, ids=lambda mode: mode.name)
async def test_the_last_event_tells_the_error(serve: ServeFactory, fake: FakeOllama, mode: Mode) -> None:
    """The same as server-sent events: `event: error`."""
    fake.mode = mode
    async with serve(fake.url, idle_timeout=0.2) as service:
        *_, last = (await stream_of(service, "text/event-stream")).removesuffix("\n\n").split("\n\n")
        assert last.startswith("event: error\ndata: {")
        assert json.loads(last.partition("data: ")[2])["code"] == ENDS[mode][0]


async def test_the_backends_own_error_line_is_relayed(service: Service, fake: FakeOllama) -> None:
    """An error that the backend tells in its stream reaches the client as it is, once, and is logged."""
    fake.mode = Mode.ERROR_MID_STREAM
    with capture_logs() as logs:
        text = await stream_of(service)
    last = json.loads(text.rstrip("\n").split("\n")[-1])
    assert set(last) == {"error"}
    assert text.count('"error"') == 1
    assert next(entry for entry in logs if entry["event"] == "request")["outcome"] == "error"
    events = await stream_of(service, "text/event-stream")
    assert events.count("event: error\n") == 1
