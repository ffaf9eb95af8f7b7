"""The fake Ollama's other voices: OpenAI's and Anthropic's routes, management, and blobs that it does not keep."""

import asyncio
import base64
import hashlib
import io
import json
import struct
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.fakes.ollama_modes import HUGE_WORDS, ODD_WORDS

TEXT = "".join(DEFAULT_WORDS)
TALK: dict[str, Any] = {"model": "llama3", "messages": [{"role": "user", "content": "say hello"}]}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": TALK,
    "/v1/completions": {"model": "llama3", "prompt": "say hello"},
    "/v1/responses": {"model": "llama3", "input": "say hello"},
    "/v1/messages": TALK | {"max_tokens": 100},
}
PATHS = list(BODIES)
TERMINATORS = {
    "/v1/chat/completions": "[DONE]",
    "/v1/completions": "[DONE]",
    "/v1/responses": "response.completed",
    "/v1/messages": "message_stop",
}
CALL = {"function": {"index": 0, "name": "now", "arguments": {"zone": "UTC"}}}
TOOLS = {"tools": [{"type": "function", "name": "now"}]}
MIB = 2**20


@pytest.fixture(name="http")
async def _http(fake: FakeOllama) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(fake.url, timeout=aiohttp.ClientTimeout(5)) as session:
        yield session


async def whole(http: aiohttp.ClientSession, path: str, **more: Any) -> tuple[int, Any]:
    """Post a body that asks for no stream."""
    async with http.post(path, json=BODIES[path] | more) as response:
        assert response.headers["Content-Type"] == "application/json"
        return response.status, json.loads(await response.read())


async def stream(http: aiohttp.ClientSession, path: str, **more: Any) -> list[Any]:
    """Return the objects of a stream; the terminator of OpenAI is a string, every `event:` is its object's type."""
    async with http.post(path, json=BODIES[path] | {"stream": True} | more) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "text/event-stream")
        *events, rest = (await response.read()).split(b"\n\n")
    assert rest == b""
    found: list[Any] = []
    for event in events:
        *name, data = event.split(b"\n")
        text = data.removeprefix(b"data: ").decode()
        found.append(text if text == "[DONE]" else json.loads(text))
        assert name == ([b"event: " + found[-1]["type"].encode()] if "type" in found[-1] else [])
    return found


def said_in(path: str, event: Any) -> str:
    """Return the text that an event of a stream adds."""
    if event == "[DONE]":
        return ""
    if path == "/v1/messages":
        return str(event.get("delta", {}).get("text", ""))
    if path == "/v1/responses":
        return str(event["delta"]) if event["type"] == "response.output_text.delta" else ""
    return "".join(str(one.get("text") or one.get("delta", {}).get("content") or "") for one in event["choices"])


def kinds(events: list[Any]) -> list[str]:
    """Return the types of events, each once in a row."""
    names = [event if isinstance(event, str) else event.get("type", "chunk") for event in events]
    return [name for name, before in zip(names, [None, *names], strict=False) if name != before]


@pytest.mark.parametrize("path", PATHS)
async def test_streams_say_the_words_and_end(http: aiohttp.ClientSession, path: str) -> None:
    """A stream of each API says every word, and ends with its terminator."""
    events = await stream(http, path)
    assert "".join(said_in(path, event) for event in events) == TEXT
    assert kinds(events)[-1] == TERMINATORS[path]


@pytest.mark.parametrize("path", PATHS)
async def test_whole_is_the_default(http: aiohttp.ClientSession, path: str) -> None:
    """Without `stream` each API answers one object with the whole text and the figures."""
    status, answer = await whole(http, path)
    usage = answer.get("usage")
    assert (status, TEXT in json.dumps(answer)) == (200, True)
    assert 2 in (usage.get("prompt_tokens"), usage.get("input_tokens"))
    assert 8 in (usage.get("completion_tokens"), usage.get("output_tokens"))


async def test_openai_chat(http: aiohttp.ClientSession) -> None:
    """The first delta has the role, a chunk of its own the reason, and usage comes only when asked for."""
    *chunks, finish, done = await stream(http, "/v1/chat/completions")
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": " Hello"}
    assert finish["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert done == "[DONE]"
    assert not any("usage" in chunk for chunk in [*chunks, finish])
    asked = await stream(http, "/v1/chat/completions", stream_options={"include_usage": True}, max_tokens=3)
    assert (asked[-3]["choices"][0]["finish_reason"], asked[-2]["choices"]) == ("length", [])
    assert asked[-2]["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    assert [chunk for chunk in asked[:-2] if "usage" in chunk] == []


async def test_openai_completions(http: aiohttp.ClientSession) -> None:
    """With usage asked for, every chunk has one of zeros, and the last has the totals and no choices."""
    *chunks, last, done = await stream(http, "/v1/completions", stream_options={"include_usage": True})
    assert done == "[DONE]"
    assert {chunk["usage"]["total_tokens"] for chunk in chunks} == {0}
    assert (chunks[-1]["choices"][0]["finish_reason"], last["choices"]) == ("stop", [])
    assert last["usage"] == {"prompt_tokens": 2, "completion_tokens": 8, "total_tokens": 10}
    loaded = await stream(http, "/v1/completions", prompt="")
    assert loaded[0]["choices"][0]["finish_reason"] == "load"


async def test_anthropic_messages(http: aiohttp.ClientSession) -> None:
    """A message starts with an estimate, has one block of text, and ends with its reason and its usage."""
    events = await stream(http, "/v1/messages")
    assert kinds(events) == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[0]["message"]["usage"]["output_tokens"] == 0
    assert events[-2]["delta"] == {"stop_reason": "end_turn"}
    assert events[-2]["usage"] == {"input_tokens": 2, "output_tokens": 8}


async def test_openai_responses(http: aiohttp.ClientSession) -> None:
    """Events are numbered without a gap, and the completed response has the output and the usage."""
    events = await stream(http, "/v1/responses")
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert kinds(events)[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    response = events[-1]["response"]
    assert (response["status"], response["output"][0]["content"][0]["text"]) == ("completed", TEXT)
    assert (response["usage"]["input_tokens"], response["usage"]["output_tokens"]) == (2, 8)


async def test_openai_embeddings(http: aiohttp.ClientSession) -> None:
    """Embeddings are a list of numbers or, when asked for, of their bytes in base64."""
    body = {"model": "llama3", "input": ["one two", "three"]}
    async with http.post("/v1/embeddings", json=body) as response:
        numbers = json.loads(await response.read())
    async with http.post("/v1/embeddings", json=body | {"encoding_format": "base64"}) as response:
        packed = json.loads(await response.read())
    assert [item["index"] for item in numbers["data"]] == [0, 1]
    assert numbers["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    unpacked = struct.unpack("<8f", base64.b64decode(packed["data"][1]["embedding"]))
    assert list(unpacked) == pytest.approx(numbers["data"][1]["embedding"])


async def test_openai_models(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """Models are listed and found by any spelling of their names; without models `data` is null."""
    async with http.get("/v1/models") as response:
        assert [model["id"] for model in (await response.json())["data"]] == ["llama3:latest"]
    async with http.get("/v1/models/llama3") as response:
        assert (await response.json())["owned_by"] == "library"
    async with http.get("/v1/models/nothing") as response:
        assert (response.status, (await response.json())["error"]["type"]) == (404, "not_found_error")
    fake.models.clear()
    async with http.get("/v1/models") as response:
        assert await response.json() == {"object": "list", "data": None}


async def test_transcription(http: aiohttp.ClientSession) -> None:
    """A form with a file and a model is answered with its text, as an object or plain; without a file it is refused."""
    for form, expected in [({}, json.dumps({"text": TEXT.strip()})), ({"response_format": "text"}, TEXT.strip())]:
        data = aiohttp.FormData({"model": "llama3", **form})
        data.add_field("file", b"\0\1RIFF\xff", filename="a.wav")
        async with http.post("/v1/audio/transcriptions", data=data) as response:
            assert (await response.text()).replace('":"', '": "').strip() == expected
    async with http.post("/v1/audio/transcriptions", data={"model": "llama3"}) as response:
        assert response.status == 400


@pytest.mark.parametrize("path", [*PATHS, "/v1/embeddings"])
@pytest.mark.parametrize(
    ("body", "status", "kind"), [(b"", 400, "invalid_request_error"), (b"{model}", 404, "not_found_error")]
)
async def test_refusals(http: aiohttp.ClientSession, path: str, body: bytes, status: int, kind: str) -> None:
    """A missing body and an unknown model are refused in the shape of the API that was asked."""
    if body:
        body = json.dumps(BODIES.get(path, {"input": "x"}) | {"model": "x"}).encode()
    async with http.post(path, data=body) as response:
        assert response.status == status
        answer = await response.json()
    if path == "/v1/messages":
        assert (answer["type"], answer["error"]["type"]) == ("error", kind)
        assert answer["request_id"].startswith("req_")
    else:
        assert answer["error"] | {"message": ""} == {"message": "", "type": kind, "param": None, "code": None}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("mode", "status"), [(Mode.ERROR_500, 500), (Mode.BUSY_503, 503), (Mode.NOT_FOUND_MODEL, 404)])
async def test_error_modes(fake: FakeOllama, http: aiohttp.ClientSession, path: str, mode: Mode, status: int) -> None:
    """An error before the first byte has its status and the API's own shape."""
    fake.mode = mode
    found, answer = await whole(http, path, stream=True)
    assert found == status
    assert answer["error"]["message"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("mode", [Mode.ERROR_MID_STREAM, Mode.ERROR_FIRST_LINE, Mode.NO_DONE])
async def test_failures_are_swallowed(fake: FakeOllama, http: aiohttp.ClientSession, path: str, mode: Mode) -> None:
    """A stream that fails ends in order, without its terminator; OpenAI's has a chunk of nobody's at its end."""
    fake.mode = mode
    events = await stream(http, path)
    said = {Mode.ERROR_MID_STREAM: 2, Mode.ERROR_FIRST_LINE: 0, Mode.NO_DONE: 8}[mode]
    assert "".join(said_in(path, event) for event in events) == "".join(DEFAULT_WORDS[:said])
    assert TERMINATORS[path] not in kinds(events)
    if path.endswith("completions") and mode is not Mode.NO_DONE:
        assert (events[-1]["model"], said_in(path, events[-1])) == ("", "")
    assert fake.requests[0].finished


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("mode", [Mode.SPLIT_LINES, Mode.SLOW_TOKENS, Mode.ODD_UNICODE, Mode.HUGE_LINES])
async def test_modes_that_harm_nothing(fake: FakeOllama, http: aiohttp.ClientSession, path: str, mode: Mode) -> None:
    """Slow, split, huge and odd streams arrive whole."""
    fake.mode, fake.token_delay = mode, 0.001
    events = await stream(http, path)
    words = {Mode.ODD_UNICODE: ODD_WORDS, Mode.HUGE_LINES: HUGE_WORDS}.get(mode, DEFAULT_WORDS)
    assert "".join(said_in(path, event) for event in events) == "".join(words)


@pytest.mark.parametrize("path", [*PATHS, "/api/pull"])
@pytest.mark.parametrize("streamed", [True, False])
async def test_cut_and_hang(fake: FakeOllama, http: aiohttp.ClientSession, path: str, streamed: bool) -> None:
    """A cut answer breaks off, and one that hangs waits for its client to leave."""
    body = BODIES.get(path, {"model": "new"}) | {"stream": streamed}
    fake.mode = Mode.CUT_MID_STREAM
    with pytest.raises(aiohttp.ClientPayloadError):
        async with http.post(path, json=body) as response:
            await response.read()
    fake.mode = Mode.HANG_MID_STREAM
    async with http.post(path, json=body) as response:
        assert await response.content.read(1)
    assert (await fake.wait_for_disconnect()).path == path
    assert fake.models == ["llama3:latest"]


async def test_gate_steps_once_an_event(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """Held, nothing leaves; each release lets out one event, whichever line it was made of."""
    fake.hold()
    request = asyncio.ensure_future(http.post("/v1/messages", json=BODIES["/v1/messages"] | {"stream": True}))
    await fake.wait_for_request()
    assert fake.active == 1
    fake.release(2)
    async with await request as response:
        for expected in ("message_start", "content_block_start"):
            assert (await response.content.readuntil(b"\n\n")).startswith(f"event: {expected}".encode())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.content.readuntil(b"\n\n"), 0.05)
        fake.release()
        assert (await response.read()).endswith(b"\n\n")


async def test_thinking(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """What is thought comes before what is said, in each API's own field, and counts as written."""
    fake.thinking = "let me see"
    async with http.post("/api/chat", json=TALK) as response:
        lines = [json.loads(line) for line in (await response.text()).splitlines()]
    assert [line["message"].get("thinking") for line in lines[:4]] == ["let", " me", " see", None]
    assert lines[-1]["eval_count"] == 11
    chunks = await stream(http, "/v1/chat/completions")
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "reasoning": "let"}
    events = await stream(http, "/v1/messages")
    blocks = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    assert blocks == [{"type": "thinking", "thinking": ""}, {"type": "text", "text": ""}]
    for path in PATHS[:1] + PATHS[2:]:
        assert "let me see" in json.dumps((await whole(http, path))[1])
    assert "let me see" not in json.dumps((await whole(http, PATHS[0], reasoning_effort="none"))[1])


async def test_tool_calls(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """Scripted calls come in each API's form when tools are offered: arguments are a string, the reason says so."""
    fake.tool_calls = (CALL,)
    *_, called, finish, _ = await stream(http, "/v1/chat/completions", **TOOLS)
    function = called["choices"][0]["delta"]["tool_calls"][0]["function"]
    assert function == {"name": "now", "arguments": '{"zone":"UTC"}'}
    assert finish["choices"][0]["finish_reason"] == "tool_calls"
    start, delta, _, end, _ = (await stream(http, "/v1/messages", **TOOLS))[-5:]
    assert (start["content_block"]["name"], start["content_block"]["input"]) == ("now", {})
    assert delta["delta"] == {"type": "input_json_delta", "partial_json": '{"zone":"UTC"}'}
    assert end["delta"] == {"stop_reason": "tool_use"}
    done = (await stream(http, "/v1/responses", **TOOLS))[-1]["response"]
    assert done["output"][-1]["arguments"] == '{"zone":"UTC"}'
    assert (await whole(http, "/v1/messages", **TOOLS))[1]["content"][-1]["input"] == {"zone": "UTC"}
    assert (await whole(http, "/v1/chat/completions"))[1]["choices"][0]["finish_reason"] == "stop"


async def test_old_servers_lack_routes(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """A path that is lacked is the router's own 404, as counting tokens always is."""
    fake.lacks = {"/v1/messages"}
    for path in ("/v1/messages", "/v1/messages/count_tokens", "/v1/models/a%2Fb", "/api/blobs/:digest/x"):
        async with http.post(path, json=TALK) as response:
            assert (response.status, await response.text()) == (404, "404 page not found")
    assert (await whole(http, "/v1/chat/completions"))[0] == 200


async def test_context_may_be_huge(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """The last line of generate has as many numbers of context as the script says."""
    fake.context_size = 200_000
    async with http.post("/api/generate", json={"model": "llama3", "prompt": "x"}) as response:
        last = (await response.read()).splitlines()[-1]
    assert len(json.loads(last)["context"]) == 200_000
    assert len(last) > MIB


@pytest.mark.parametrize(("path", "name"), [("/api/pull", "model"), ("/api/push", "name"), ("/api/create", "model")])
async def test_progress(fake: FakeOllama, http: aiohttp.ClientSession, path: str, name: str) -> None:
    """Progress streams lines to `success`, or answers it alone; then the model is there, unless it was a push."""
    async with http.post(path, json={name: "new"}) as response:
        assert response.content_type == "application/x-ndjson"
        lines = [json.loads(line) for line in (await response.text()).splitlines()]
    assert lines[-1] == {"status": "success"}
    assert len(lines) > 2
    async with http.post(path, json={name: "newer:1b", "stream": False}) as response:
        assert (response.content_type, await response.json()) == ("application/json", {"status": "success"})
    assert fake.models == ["llama3:latest", *([] if path == "/api/push" else ["new:latest", "newer:1b"])]


async def test_progress_that_fails(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """A pull that dies ends with an error line, or is a 500, and brings no model."""
    fake.mode = Mode.ERROR_MID_STREAM
    async with http.post("/api/pull", json={"model": "new"}) as response:
        assert "error" in json.loads((await response.text()).splitlines()[-1])
    async with http.post("/api/pull", json={"model": "new", "stream": False}) as response:
        assert response.status == 500
    assert fake.models == ["llama3:latest"]


async def test_copy_and_delete(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """Copy and delete answer nothing and change the models; an unknown one is a 404 in Ollama's words."""
    async with http.post("/api/copy", json={"source": "llama3", "destination": "mine"}) as response:
        assert (response.status, await response.read()) == (200, b"")
    async with http.delete("/api/delete", json={"model": "LLAMA3"}) as response:
        assert (response.status, await response.read()) == (200, b"")
    assert fake.models == ["mine:latest"]
    async with http.post("/api/copy", json={"source": "x", "destination": "y"}) as response:
        assert (response.status, await response.json()) == (404, {"error": 'model "x" not found'})
    async with http.delete("/api/delete", json={"name": "x"}) as response:
        assert (response.status, await response.json()) == (404, {"error": "model 'x' not found"})


@pytest.mark.parametrize(
    ("method", "path", "field"),
    [
        ("POST", "/api/me", "name"),
        ("POST", "/api/signout", None),
        ("DELETE", "/api/user/keys/abc", None),
        ("POST", "/api/experimental/web_search", "results"),
        ("POST", "/api/experimental/web_fetch", "content"),
        ("GET", "/api/experimental/model-recommendations", "recommendations"),
        ("GET", "/api/status", "cloud"),
    ],
)
async def test_account(http: aiohttp.ClientSession, method: str, path: str, field: str | None) -> None:
    """The routes of the account answer JSON."""
    async with http.request(method, path, json={}) as response:
        answer = await response.json()
    assert answer is None if field is None else field in answer


async def pieces(size: int, count: int) -> AsyncIterator[bytes]:
    """Yield a body of unknown length."""
    for _ in range(count):
        yield b"x" * size


def digest_of(data: bytes) -> str:
    """Return a blob's digest."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize("chunked", [True, False])
async def test_blob_is_counted_and_not_kept(fake: FakeOllama, http: aiohttp.ClientSession, chunked: bool) -> None:
    """An upload is 201 and its size known; its record has no body, and the connection serves on."""
    data = b"x" * (3 * MIB)
    digest = digest_of(data)
    async with http.head(f"/api/blobs/{digest}") as response:
        assert response.status == 404
    body: Any = pieces(MIB, 3) if chunked else io.BytesIO(data)
    async with http.post(f"/api/blobs/{digest}", data=body) as response:
        assert (response.status, await response.read()) == (201, b"")
    assert (fake.blobs, fake.blob_bytes) == ({digest: 3 * MIB}, 3 * MIB)
    record = fake.requests[-1]
    assert (record.body, record.header("Transfer-Encoding")) == (b"", "chunked" if chunked else None)
    async with http.head(f"/api/blobs/{digest.replace(':', '-')}") as response:
        assert response.status == 200
    assert fake.open_connections == 1


async def test_blob_with_the_wrong_digest(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """Another digest is refused after the whole upload, unless any is welcome; no digest at all is refused."""
    wrong, right = digest_of(b"other"), digest_of(b"data")
    async with http.post(f"/api/blobs/{wrong}", data=b"data") as response:
        expected = f'digest mismatch, expected "{wrong}", got "{right}"'
        assert (response.status, await response.json()) == (400, {"error": expected})
    fake.blob_any_digest = True
    async with http.post(f"/api/blobs/{wrong}", data=b"data") as response:
        assert (response.status, fake.blobs) == (201, {wrong: 4})
    for method in ("HEAD", "POST"):
        async with http.request(method, "/api/blobs/sha256:12") as response:
            assert response.status == 400


async def test_blob_that_is_there(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """A known blob is 200 and not read; a small body leaves the connection usable."""
    fake.blobs[digest_of(b"data")] = 4
    async with http.post(f"/api/blobs/{digest_of(b'data')}", data=b"data") as response:
        assert (response.status, fake.blob_bytes) == (200, 0)
        assert "Connection" not in response.headers


async def upload(fake: FakeOllama, size: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Begin an upload of a known length on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
    writer.write(f"POST /api/blobs/{digest_of(b'')} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
    return reader, writer


async def test_blob_answered_early(fake: FakeOllama) -> None:
    """The answer comes with the headers, the body is never read, and the connection is closed."""
    fake.blob_early = True
    reader, writer = await upload(fake, 100 * MIB)
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")
    assert (fake.blob_bytes, fake.requests[0].finished) == (0, True)
    writer.close()
    await fake.wait_until(lambda: fake.open_connections == 0)


async def test_slow_blob_holds_its_client_back(fake: FakeOllama) -> None:
    """A slow server reads no further than it says, and what it does not read the client cannot send."""
    fake.blob_delay = 60
    _, writer = await upload(fake, 200 * MIB)
    writer.write(b"x" * (50 * MIB))
    await fake.wait_until(lambda: fake.blob_bytes >= MIB)
    await asyncio.sleep(0.1)
    assert fake.blob_bytes < 2 * MIB
    assert writer.transport.get_write_buffer_size() > 30 * MIB
    writer.transport.abort()
    await fake.stop()


@pytest.mark.parametrize("delay", [0, 60])
async def test_leaving_an_upload_is_noticed(fake: FakeOllama, delay: float) -> None:
    """A client that leaves in the middle of its upload is recorded at once, even while the server sleeps."""
    fake.blob_delay = delay
    _, writer = await upload(fake, 100 * MIB)
    writer.write(b"x" * MIB)
    await writer.drain()
    await fake.wait_until(lambda: fake.blob_bytes >= MIB)
    writer.close()
    record = await fake.wait_for_disconnect()
    assert (record.finished, record.disconnected_at is not None) == (False, True)
    assert fake.blobs == {}


async def test_process() -> None:
    """As a process it says when it listens, takes a large blob quickly in little memory, and stops on SIGTERM."""
    async with FakeOllama() as free:
        port = free.port
    command = ("-m", "tests.fakes.serve", "--port", str(port), "--blob-any-digest")
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 10) == b"listening\n"
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
            http.post(f"/api/blobs/{digest_of(b'x')}", data=pieces(MIB, 100)) as response,
        ):
            assert response.status == 201
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0
