"""What the ledger says of answers that fail on the way, or whose server tells no usage that can be true."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import pytest
from openai import APIError, AsyncOpenAI
from structlog.testing import capture_logs

from tests.conftest import ServeFactory
from tests.e2e.test_resources import eventually
from tests.fakes.http11 import Connection, Reply, Request, head_bytes
from tests.fakes.ollama import FakeOllama
from tests.fakes.openai_server import MODEL, VECTOR, FakeOpenAI
from tests.service import ORDINARY_KEY, Service
from tests.web.conversations.stored_replies import in_ledger
from tests.web.dialects.test_forms import HONEST, TYPE, part
from tests.web.test_logs import requests_in

# 68 letters, as a server sends them that speaks in sentences.
SENTENCES: Final = ("The sky is blue today, ", "and so it was yesterday, ", "as it will be again.")
SAID: Final = "worker 3 died (signal 9)"
CHAT: Final[dict[str, Any]] = {"model": MODEL["id"], "messages": [{"role": "user", "content": "hi"}]}
NAME: Final = str(MODEL["id"])
ZEROS: Final = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
TRANSCRIBE: Final = "/v1/audio/transcriptions"


@dataclass(kw_only=True, eq=False)
class Scripted(FakeOpenAI):
    """Answers each POST with `body`, or, after `late` seconds, with a stream's chunks, each before `pause` seconds."""

    kind: str = "text/event-stream"
    body: bytes = b""
    chunks: Sequence[bytes] = field(default_factory=list)
    late: float = 0.0
    pause: float = 0.0
    keeps_open: bool = False

    async def answer(self, connection: Connection, request: Request) -> None:
        """Answer one request."""
        if request.method != "POST":
            await super().answer(connection, request)
        elif self.body:
            await connection.send(Reply(200, self.kind, self.body))
        else:
            head = head_bytes(200, {"Content-Type": self.kind, "Transfer-Encoding": "chunked"})
            await asyncio.sleep(self.late)
            for chunk in self.chunks:
                await connection.send_chunk(chunk, head=head)
                head = b""
                await asyncio.sleep(self.pause)
            if self.keeps_open:
                await asyncio.sleep(60)
            await connection.end_chunks()


@asynccontextmanager
async def before(serve: ServeFactory, server: Scripted, words: str = "", **settings: Any) -> AsyncIterator[Service]:
    """The service before a server of which the operator says `words`."""
    async with server, serve(openai_backends=f"{server.url} {words}", **settings) as service:
        yield service


def event(told: Any, name: str = "") -> bytes:
    """One server-sent event."""
    data = told if isinstance(told, bytes) else json.dumps(told, separators=(",", ":")).encode()
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + data + b"\n\n"


def piece(text: str, reason: str | None = None, **more: Any) -> bytes:
    """One event of a chat."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
    return event({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **more})


def sentences(**more: Any) -> list[bytes]:
    """A chat that says `SENTENCES`."""
    return [*(piece(text, **more) for text in SENTENCES), piece("", "stop", **more), event(b"[DONE]")]


DELTA: Final = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}}
TOLD: Final[dict[str, Any]] = {
    "type": "response.output_text.delta",
    "delta": "Hello",
    "item_id": "i",
    "sequence_number": 1,
}
FAILED: Final = {"type": "response.failed", "response": {"status": "failed", "error": {"message": SAID}}}
FAILURES: Final[dict[str, tuple[str, list[bytes]]]] = {
    "SMG": (
        "/v1/chat/completions",
        [piece("Hello"), event({"error": {"message": SAID, "type": "internal_error"}}), event(b"[DONE]")],
    ),
    "named": ("/v1/completions", [piece("Hello"), event({"error": {"message": SAID}}, "error"), event(b"[DONE]")]),
    "Anthropic": (
        "/v1/messages",
        [
            event({"type": "message_start", "message": {"usage": {"input_tokens": 3}}}, "message_start"),
            event(DELTA, "content_block_delta"),
            event({"type": "error", "error": {"type": "overloaded_error", "message": SAID}}, "error"),
            event({"type": "message_stop"}, "message_stop"),
        ],
    ),
    "Responses": (
        "/v1/responses",
        [event(TOLD, TOLD["type"]), event({"type": "error", "code": "server_error", "message": SAID}, "error")],
    ),
    "Responses, failed": ("/v1/responses", [event(TOLD, TOLD["type"]), event(FAILED, "response.failed")]),
}


def asked_of(path: str, **more: Any) -> dict[str, Any]:
    """A streamed request for a route."""
    return {**CHAT, "prompt": "hi", "input": "hi", "store": False, "max_tokens": 9, "stream": True, **more}


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_that_the_server_tells_amid_its_stream_is_one(
    serve: ServeFactory, name: str, together: bool
) -> None:
    """Its bytes stay as they are; log and ledger say what it said, whatever stands behind it."""
    path, chunks = FAILURES[name]
    async with before(serve, Scripted(chunks=[b"".join(chunks)] if together else chunks)) as service:
        with capture_logs() as logs:
            answer = await service.client.post(path, json=asked_of(path))
            assert answer.content == b"".join(chunks)
            await eventually(lambda: bool(requests_in(logs)))
        row = await in_ledger(service, answer)
    (entry,) = requests_in(logs)
    assert (entry["outcome"], entry["error"], entry["said"]) == ("error", "backend_error_line", SAID)
    assert (row["outcome"], row["error"]) == ("error", f"backend_error_line: {SAID}")
    assert (row["estimated"], row["completion_tokens"]) == (True, 2)


async def test_a_failure_amid_a_stream_is_one_when_the_client_leaves_at_it(serve: ServeFactory) -> None:
    """As the SDKs do: they raise at the event, and read no further."""
    server = Scripted(chunks=FAILURES["SMG"][1][:2], keeps_open=True)
    async with before(serve, server) as service, AsyncOpenAI(base_url=f"{service.url}/v1", api_key=ORDINARY_KEY) as ai:
        with capture_logs() as logs:
            with pytest.raises(APIError, match="worker 3 died"):
                async for _ in await ai.chat.completions.create(**CHAT, stream=True):
                    pass
            await eventually(lambda: bool(requests_in(logs)))
    (entry,) = requests_in(logs)
    assert (entry["outcome"], entry["said"]) == ("error", SAID)


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_a_failure_amid_a_translated_stream_is_one(serve: ServeFactory, path: str) -> None:
    """The client reads the server's words in the last line."""
    async with before(serve, Scripted(chunks=FAILURES["SMG"][1])) as service:
        answer = await service.client.post(path, json={**CHAT, "prompt": "hi"})
        assert json.loads(answer.text.splitlines()[-1]) == {"error": SAID}
        row = await in_ledger(service, answer)
    assert (row["outcome"], row["error"]) == ("error", f"backend_error_line: {SAID}")


async def test_a_failure_amid_ollamas_lines_is_one(serve: ServeFactory) -> None:
    """Even with a proper last line behind it."""
    lines = [b'{"response":"Hello","done":false}\n', json.dumps({"error": SAID}).encode() + b"\n", b'{"done":true}\n']
    async with Scripted(kind="application/x-ndjson", chunks=lines) as server, serve(server.url) as service:
        answer = await service.client.post("/api/generate", json={"model": "m", "prompt": "hi"})
        assert answer.content == b"".join(lines)
        row = await in_ledger(service, answer)
    assert (row["outcome"], row["error"]) == ("error", f"backend_error_line: {SAID}")


SILENT: Final[dict[str, dict[str, Any]]] = {"no usage": {}, "zeros": {"usage": ZEROS}, "null": {"usage": None}}


@pytest.mark.parametrize("usage", SILENT)
@pytest.mark.parametrize("asking", [{}, {"stream_options": {"include_usage": True}}])
async def test_a_native_stream_without_usage_is_charged_by_its_text(
    serve: ServeFactory, usage: str, asking: dict[str, Any]
) -> None:
    """68 letters in three frames are 17 tokens, and the row says that it is a guess."""
    async with before(serve, Scripted(chunks=sentences(**SILENT[usage]))) as service:
        answer = await service.client.post("/v1/chat/completions", json=asked_of("", **asking))
        row = await in_ledger(service, answer)
    assert (row["outcome"], row["completion_tokens"], row["estimated"]) == ("done", 17, True)
    assert row["prompt_tokens"] > 0


@pytest.mark.parametrize("usage", SILENT)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_translated_answer_without_usage_is_charged_by_its_text(
    serve: ServeFactory, usage: str, stream: bool
) -> None:
    """The last line has the counts of the ledger."""
    more = SILENT[usage]
    choice = {"index": 0, "message": {"content": "".join(SENTENCES)}, "finish_reason": "stop"}
    whole = json.dumps({"choices": [choice], **more}).encode()
    server = Scripted(chunks=sentences(**more)) if stream else Scripted(kind="application/json", body=whole)
    async with before(serve, server) as service:
        answer = await service.client.post("/api/chat", json={**CHAT, "stream": stream})
        last = json.loads(answer.text.splitlines()[-1])
        row = await in_ledger(service, answer)
    assert (last["eval_count"], row["completion_tokens"], row["estimated"]) == (17, 17, True)
    assert last["prompt_eval_count"] == row["prompt_tokens"] > 0


WHOLE: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "chat": ("/v1/chat/completions", {"choices": [{"message": {"content": "".join(SENTENCES)}}]}),
    "text": ("/v1/completions", {"choices": [{"text": "".join(SENTENCES)}], "usage": ZEROS}),
    "responses": ("/v1/responses", {"output": [{"content": [{"text": "".join(SENTENCES)}]}]}),
    "messages": (
        "/v1/messages",
        {"content": [{"text": "".join(SENTENCES)}], "usage": {"input_tokens": 0, "output_tokens": 0}},
    ),
}


@pytest.mark.parametrize("name", WHOLE)
async def test_a_whole_answer_without_usage_is_charged_by_its_text(serve: ServeFactory, name: str) -> None:
    """It goes on as it came."""
    path, told = WHOLE[name]
    async with before(serve, Scripted(kind="application/json", body=json.dumps(told).encode())) as service:
        answer = await service.client.post(path, json=asked_of(path, stream=False))
        assert answer.json() == told
        row = await in_ledger(service, answer)
    assert (row["completion_tokens"], row["estimated"]) == (17, True)
    assert row["prompt_tokens"] > 0


async def test_counts_that_the_operator_does_not_believe_are_estimated(serve: ServeFactory) -> None:
    """`counts=estimated`, as for a server that counts letters; what is translated tells the client the estimate."""
    wrong = {"prompt_tokens": 9000, "completion_tokens": 5000, "total_tokens": 14000}
    vectors = {"data": [{"index": 0, "embedding": VECTOR}], "usage": {"prompt_tokens": 9000, "total_tokens": 9000}}
    server = Scripted(chunks=[*sentences()[:-1], event({"choices": [], "usage": wrong}), event(b"[DONE]")])
    for words, (prompt, answered, marked) in (("", (9000, 5000, False)), ("counts=estimated", (8, 17, True))):
        server.body = b""
        async with before(serve, server, words) as service:
            native = await service.client.post("/v1/chat/completions", json={**CHAT, "stream": True})
            translated = await service.client.post("/api/chat", json=CHAT)
            last = json.loads(translated.text.splitlines()[-1])
            assert (last["prompt_eval_count"], last["eval_count"]) == (prompt, answered)
            for answer in (native, translated):
                row = await in_ledger(service, answer)
                assert (row["prompt_tokens"], row["completion_tokens"], row["estimated"]) == (prompt, answered, marked)
            server.kind, server.body = "application/json", json.dumps(vectors).encode()
            rows = []
            for path in ("/v1/embeddings", "/api/embed"):
                answer = await service.client.post(path, json={"model": MODEL["id"], "input": "eight letters " * 2})
                rows.append(await in_ledger(service, answer))
            assert answer.json()["prompt_eval_count"] == (7 if words else 9000)
        assert [(row["prompt_tokens"], row["completion_tokens"], row["estimated"]) for row in rows] == [
            (7 if words else 9000, 0, bool(words))
        ] * 2
        server.kind = "text/event-stream"


async def test_counts_of_a_backend_that_is_believed_stay(serve: ServeFactory, fake: FakeOllama) -> None:
    """Though another one was asked before, whose counts are not."""
    async with FakeOpenAI(refusal=(503, {"error": {"message": "busy"}})) as busy:
        async with serve(fake.url, openai_backends=f"{busy.url} model=llama3 counts=estimated") as service:
            for number in range(20):  # prompts that begin in another way each: some of them go to the other one first
                messages = [{"role": "user", "content": f"{number} is a number"}]
                asked = {**CHAT, "model": "llama3", "messages": messages}
                answer = await service.client.post("/v1/chat/completions", json=asked)
                row = await in_ledger(service, answer)
                assert (row["backend"], row["completion_tokens"], row["estimated"]) == (fake.url, 8, False)
        assert any(asked.method == "POST" for asked in busy.requests)


@pytest.mark.parametrize("words", ["", "counts=estimated"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_without_usage_is_charged_by_its_arguments(serve: ServeFactory, words: str, stream: bool) -> None:
    """The client of a translated answer is told what the ledger has."""
    function = {"name": "name", "arguments": json.dumps({"text": "x" * 52})}
    calls = [{"index": 0, "id": "a", "function": function}]
    choice = {"index": 0, "message": {"content": None, "tool_calls": calls}, "finish_reason": "tool_calls"}
    server = Scripted(kind="application/json", body=json.dumps({"choices": [choice], "usage": ZEROS}).encode())
    if stream:
        delta = {"choices": [{"index": 0, "delta": {"tool_calls": calls}, "finish_reason": None}]}
        server = Scripted(chunks=[event(delta), piece("", "tool_calls", usage=ZEROS), event(b"[DONE]")])
    async with before(serve, server, words) as service:
        native = await service.client.post("/v1/chat/completions", json={**CHAT, "stream": stream})
        translated = await service.client.post("/api/chat", json={**CHAT, "stream": stream})
        assert json.loads(translated.text.splitlines()[-1])["eval_count"] == 17
        for answer in (native, translated):
            row = await in_ledger(service, answer)
            assert (row["completion_tokens"], row["estimated"]) == (17, True)


async def test_an_estimate_is_made_once(serve: ServeFactory) -> None:
    """Of what the server sent: the client has one line of a call in thirty pieces, and the ledger counts the same."""
    server = Scripted(chunks=[call("{"), *[call(" ")] * 28, call("}"), piece("", "tool_calls", usage=ZEROS)])
    async with before(serve, server, "counts=estimated") as service:
        answer = await service.client.post("/api/chat", json=CHAT)
        row = await in_ledger(service, answer)
    assert json.loads(answer.text.splitlines()[-1])["eval_count"] == row["completion_tokens"] == 30


def call(arguments: str) -> bytes:
    """A fragment of a call, of which a client of Ollama gets nothing until it is whole."""
    function = {"name": "f", "arguments": arguments}
    delta = {"tool_calls": [{"index": 0, "id": "a", "function": function}]}
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})


STREAMED: Final = [
    event({"type": "transcript.text.delta", "delta": "The sky is "}),
    event({"type": "transcript.text.delta", "delta": "blue."}),
]
TRANSCRIPTS: Final = {
    "tokens": ({"type": "tokens", "input_tokens": 14, "output_tokens": 5, "total_tokens": 19}, (14, 5, False)),
    "seconds": ({"type": "duration", "seconds": 3}, (0, 4, True)),
    "none": (None, (0, 4, True)),
}


async def transcribed(service: Service) -> httpx.Response:
    """What a streamed transcription answers."""
    form = part('form-data; name="stream"', "true") + HONEST.replace(b"llama3", NAME.encode())
    return await service.client.post(TRANSCRIBE, content=form, headers={"Content-Type": TYPE})


@pytest.mark.parametrize("name", TRANSCRIPTS)
async def test_a_streamed_transcript_has_its_tokens(serve: ServeFactory, name: str) -> None:
    """Those of its last event, or the guess by its text."""
    usage, counts = TRANSCRIPTS[name]
    done = {"type": "transcript.text.done", "text": "The sky is blue.", **({"usage": usage} if usage else {})}
    async with before(serve, Scripted(chunks=[*STREAMED, event(done)])) as service:
        answer = await transcribed(service)
        assert answer.content == b"".join([*STREAMED, event(done)])
        row = await in_ledger(service, answer)
    assert (row["prompt_tokens"], row["completion_tokens"], row["estimated"]) == counts
    assert row["outcome"] == "done"


async def test_a_streamed_transcript_comes_as_it_is_made(serve: ServeFactory) -> None:
    """Not when all of it is there."""
    server = Scripted(chunks=STREAMED, keeps_open=True)
    form = part('form-data; name="stream"', "true") + HONEST.replace(b"llama3", NAME.encode())
    async with (
        before(serve, server) as service,
        asyncio.timeout(30),
        service.client.stream("POST", TRANSCRIBE, content=form, headers={"Content-Type": TYPE}) as answer,
    ):
        assert b"The sky is" in await anext(answer.aiter_bytes())


@pytest.mark.parametrize(
    ("kind", "body", "counts"),
    [
        ("application/json", b'{"text":"The sky is blue."}', (0, 4, True)),
        ("text/plain", b"The sky is blue.", (0, 4, True)),
        ("application/json", b'{"text":"x","usage":{"input_tokens":14,"output_tokens":5}}', (14, 5, False)),
    ],
)
async def test_a_whole_transcript_has_its_tokens(
    serve: ServeFactory, kind: str, body: bytes, counts: tuple[int, int, bool]
) -> None:
    """Told, or by its text."""
    async with before(serve, Scripted(kind=kind, body=body)) as service:
        row = await in_ledger(service, await transcribed(service))
    assert (row["prompt_tokens"], row["completion_tokens"], row["estimated"]) == counts


async def test_the_sum_of_a_rerankers_tokens_is_its_prompt(serve: ServeFactory) -> None:
    """Some tell nothing else."""
    told = {"results": [{"index": 0, "document": {"text": "long"}}], "usage": {"total_tokens": 56}}
    server = Scripted(kind="application/json", body=json.dumps(told).encode())
    async with before(serve, server, passthrough_routes="POST /v1/rerank") as service:
        body = {"model": MODEL["id"], "query": "a", "documents": ["b"]}
        row = await in_ledger(service, await service.client.post("/v1/rerank", json=body))
    assert (row["prompt_tokens"], row["completion_tokens"], row["estimated"]) == (56, 0, False)


@pytest.mark.parametrize("path", ["/api/chat", "/api/llm/chat"])
async def test_the_first_event_of_a_server_stops_the_clock_of_the_first_byte(serve: ServeFactory, path: str) -> None:
    """A long call without a word before it is on its way, though nothing of it can be given yet."""
    server = Scripted(chunks=[call("{"), *[call(" ")] * 8, call("}"), piece("", "tool_calls")], pause=0.2)
    async with before(serve, server, first_byte_timeout=1.0, idle_timeout=1.0) as service:
        answer = await service.client.post(path, json={**CHAT, "stream": True})
        assert answer.status_code == 200, answer.text
        assert '"tool_calls"' in answer.text
        assert json.loads(answer.text.splitlines()[-1])["done"] is True


@pytest.mark.parametrize(("late", "code"), [(30.0, "first_byte_timeout"), (0.0, "idle_timeout")])
async def test_a_silent_server_is_late_before_its_first_line_too(serve: ServeFactory, late: float, code: str) -> None:
    """Before its first event by the one clock, behind it by the other; with a status, as there is no line yet."""
    server = Scripted(chunks=[call("{")], late=late, keeps_open=True)
    async with before(serve, server, first_byte_timeout=0.5, idle_timeout=0.5) as service:
        answer = await service.client.post("/api/chat", json=CHAT)
        assert (answer.status_code, answer.json()["code"]) == (504, code)
        row = await in_ledger(service, answer)
    assert (row["outcome"], row["estimated"], row["first_byte_ms"]) == ("timeout", True, None)


async def test_a_failure_before_the_first_line_has_a_status(serve: ServeFactory) -> None:
    """Though the server has sent an event before it, of which there was nothing to give; so has an end without one."""
    for chunks, status in (([piece(""), *FAILURES["SMG"][1][1:]], 502), ([piece("")], 502)):
        async with before(serve, Scripted(chunks=chunks, pause=0.05)) as service:
            answer = await service.client.post("/api/chat", json=CHAT)
            assert answer.status_code == status
