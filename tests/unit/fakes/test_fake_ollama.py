"""The fake Ollama itself: its wire format, each of its faults, and what it remembers."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.fakes.ollama import FakeOllama, Mode

HELLO = {"model": "llama3", "prompt": "say hello please"}
WHOLE = HELLO | {"stream": False}
TALK = {"model": "llama3", "messages": [{"role": "user", "content": "say hello"}]}
METRICS = (
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
)
AT_ONCE = 0.1


@pytest.fixture(name="fake")
async def _fake() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as fake:
        yield fake


@pytest.fixture(name="http")
async def _http(fake: FakeOllama) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(fake.url, timeout=aiohttp.ClientTimeout(5)) as session:
        yield session


async def lines_of(response: aiohttp.ClientResponse) -> list[bytes]:
    """Read a stream to its end and split it as NDJSON is split."""
    *lines, rest = (await response.read()).split(b"\n")
    assert rest == b""
    return lines


async def post_json(http: aiohttp.ClientSession, path: str, body: Any) -> tuple[int, Any]:
    """Post a body and return status and parsed answer."""
    async with http.post(path, json=body) as response:
        return response.status, await response.json()


@asynccontextmanager
async def raw(fake: FakeOllama) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a plain connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


def raw_post(path: str, body: dict[str, Any]) -> bytes:
    """Return the bytes of a POST."""
    data = json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


async def test_stream_of_generate(http: aiohttp.ClientSession) -> None:
    """A stream is the default: a line a word, then done, its reason, context and the six figures."""
    async with http.post("/api/generate", json=HELLO) as response:
        assert response.headers["Content-Type"] == "application/x-ndjson"
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert "Server" not in response.headers
        *words, last = [json.loads(line) for line in await lines_of(response)]
    assert "".join(word["response"] for word in words) == " Hello from a model that is not there."
    assert all(list(word) == ["model", "created_at", "response", "done"] for word in words)
    assert (last["done"], last["done_reason"], last["response"]) == (True, "stop", "")
    assert (last["prompt_eval_count"], last["eval_count"]) == (3, 8)
    assert set(METRICS) <= set(last)
    assert "context" in last


async def test_one_object_of_generate(http: aiohttp.ClientSession) -> None:
    """With `stream` false there is one object with a length, the whole text and the figures."""
    async with http.post("/api/generate", json=WHOLE) as response:
        assert response.headers["Content-Type"] == "application/json; charset=utf-8"
        body = await response.read()
        assert response.headers["Content-Length"] == str(len(body))
    answer = json.loads(body)
    assert answer["response"] == " Hello from a model that is not there."
    assert answer["done"] is True
    assert not body.endswith(b"\n")


async def test_chat_speaks_in_messages(http: aiohttp.ClientSession) -> None:
    """Chat says the same words in `message.content`, streamed and whole."""
    async with http.post("/api/chat", json=TALK) as response:
        *words, last = [json.loads(line) for line in await lines_of(response)]
    _, whole = await post_json(http, "/api/chat", TALK | {"stream": False})
    text = "".join(word["message"]["content"] for word in words)
    assert text == whole["message"]["content"] == " Hello from a model that is not there."
    assert last["message"] == {"role": "assistant", "content": ""}
    assert last["prompt_eval_count"] == 2
    assert "response" not in last
    assert "context" not in last


async def test_tool_calls_when_tools_are_offered(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """Scripted tool calls arrive before the last object, with arguments as an object."""
    fake.tool_calls = ({"function": {"index": 0, "name": "now", "arguments": {"zone": "UTC"}}},)
    async with http.post("/api/chat", json=TALK | {"tools": [{"type": "function"}]}) as response:
        lines = [json.loads(line) for line in await lines_of(response)]
    assert lines[-2]["message"]["tool_calls"] == list(fake.tool_calls)
    assert lines[-2]["done"] is False
    _, whole = await post_json(http, "/api/chat", TALK | {"stream": False})
    assert "tool_calls" not in whole["message"]


async def test_num_predict_shortens(http: aiohttp.ClientSession) -> None:
    """`num_predict` ends the generation early, with `length` as the reason; a count of 0 is left out."""
    _, short = await post_json(http, "/api/generate", WHOLE | {"options": {"num_predict": 2}})
    assert (short["response"], short["done_reason"], short["eval_count"]) == (" Hello from", "length", 2)
    _, none = await post_json(http, "/api/generate", WHOLE | {"options": {"num_predict": 0}})
    assert "eval_count" not in none


@pytest.mark.parametrize(("keep_alive", "reason"), [(None, "load"), ("5m", "load"), (0, "unload")])
@pytest.mark.parametrize(("path", "body"), [("/api/generate", {"prompt": ""}), ("/api/chat", {"messages": []})])
async def test_empty_prompt_loads(
    http: aiohttp.ClientSession, path: str, body: dict[str, Any], keep_alive: object, reason: str
) -> None:
    """Without a prompt there is one plain JSON object and no newline, even when a stream was asked for."""
    asked = {"model": "llama3", "stream": True, "keep_alive": keep_alive} | body
    async with http.post(path, json=asked) as response:
        text = await response.read()
        assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    answer = json.loads(text)
    assert (answer["done"], answer["done_reason"]) == (True, reason)
    assert "eval_count" not in answer
    assert not text.endswith(b"\n")


async def test_embed(http: aiohttp.ClientSession) -> None:
    """Embed answers a unit vector a text, legacy embeddings one vector, and empty input none."""
    _, answer = await post_json(http, "/api/embed", {"model": "llama3", "input": ["one two", "three"]})
    assert len(answer["embeddings"]) == 2
    assert sum(value * value for value in answer["embeddings"][0]) == pytest.approx(1)
    assert answer["prompt_eval_count"] == 3
    assert "eval_count" not in answer
    status, _ = await post_json(http, "/api/embed", {"model": "llama3", "input": 7})
    assert status == 400
    assert await post_json(http, "/api/embed", {"model": "llama3"}) == (
        200,
        {"model": "llama3", "embeddings": []},
    )
    _, legacy = await post_json(http, "/api/embeddings", {"model": "llama3", "prompt": "x"})
    assert len(legacy["embedding"]) == 8


async def test_what_it_has(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """Version, tags, ps, show and `/` answer as Ollama does, and follow the live object."""
    fake.models.append("mistral:7b")
    for path, kind in [("/api/tags", "models"), ("/api/ps", "models")]:
        async with http.get(path) as response:
            listed = (await response.json())[kind]
            assert [model["name"] for model in listed] == ["llama3:latest", "mistral:7b"]
    async with http.get("/api/version") as response:
        assert await response.json() == {"version": "0.9.3"}
    async with http.get("/") as response:
        assert await response.text() == "Ollama is running"
    status, shown = await post_json(http, "/api/show", {"model": "mistral:7b"})
    assert (status, shown["capabilities"]) == (200, ["completion", "tools"])


@pytest.mark.parametrize("path", ["/", "/api/version", "/api/tags"])
async def test_head(http: aiohttp.ClientSession, path: str) -> None:
    """HEAD answers the headers of GET and no body, and leaves the connection usable."""
    async with http.head(path) as response:
        assert response.status == 200
        assert int(response.headers["Content-Length"]) > 0
        assert await response.read() == b""
    async with http.get(path) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "/api/generate", b"", 400, "missing request body"),
        ("POST", "/api/chat", b"{", 400, "unexpected EOF"),
        ("POST", "/api/chat", b"hello", 400, "invalid character 'h' looking for beginning of value"),
        ("POST", "/api/chat", b"[]", 400, "json: cannot unmarshal array into Go value of type api.Request"),
        ("POST", "/api/chat", b"{}", 400, "model is required"),
        ("POST", "/api/generate", b"{}", 404, "model '' not found"),
        ("POST", "/api/generate", b'{"model":"x"}', 404, "model 'x' not found"),
        ("POST", "/api/show", b'{"model":"x"}', 404, "model 'x' not found"),
        ("POST", "/api/embeddings", b'{"model":"x"}', 404, 'model "x" not found, try pulling it first'),
    ],
)
async def test_refusals(
    http: aiohttp.ClientSession, method: str, path: str, body: bytes, status: int, message: str
) -> None:
    """A request that Ollama refuses gets its status and its text."""
    async with http.request(method, path, data=body) as response:
        assert (response.status, await response.json()) == (status, {"error": message})


async def test_wrong_type_names_the_field(http: aiohttp.ClientSession) -> None:
    """A field of the wrong type is a 400 that names it."""
    status, answer = await post_json(http, "/api/generate", HELLO | {"stream": "yes"})
    assert status == 400
    assert "Request.stream of type bool" in answer["error"]


async def test_router(http: aiohttp.ClientSession) -> None:
    """An unknown path is a plain 404, a wrong method a plain 405 with `Allow`."""
    async with http.get("/api/nothing") as response:
        assert (response.status, await response.text()) == (404, "404 page not found")
        assert response.headers["Content-Type"] == "text/plain"
    async with http.get("/api/chat") as response:
        assert (response.status, await response.text()) == (405, "405 method not allowed")
        assert response.headers["Allow"] == "POST"


@pytest.mark.parametrize("path", ["/api/version", "/api/generate", "/nowhere"])
async def test_any_origin_is_refused(http: aiohttp.ClientSession, path: str) -> None:
    """A request with an `Origin` gets 403 and an empty body, whatever it asks."""
    async with http.post(path, json=HELLO, headers={"Origin": "http://localhost"}) as response:
        assert (response.status, await response.read()) == (403, b"")


async def test_names_are_compared_as_ollama_does(http: aiohttp.ClientSession) -> None:
    """Case and a missing tag make no other model; the reply repeats the name as it was asked."""
    _, answer = await post_json(http, "/api/generate", WHOLE | {"model": "LLAMA3"})
    assert answer["model"] == "LLAMA3"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("mode", "status", "text"),
    [
        (Mode.ERROR_500, 500, "model runner has unexpectedly stopped"),
        (Mode.BUSY_503, 503, "server busy, please try again.  maximum pending requests exceeded"),
        (Mode.NOT_FOUND_MODEL, 404, "model 'llama3' not found"),
    ],
)
async def test_error_statuses(
    fake: FakeOllama, http: aiohttp.ClientSession, mode: Mode, status: int, text: str, stream: bool
) -> None:
    """An error before the first byte is the same JSON for a stream and for a whole answer."""
    fake.mode = mode
    assert await post_json(http, "/api/generate", HELLO | {"stream": stream}) == (status, {"error": text})


@pytest.mark.parametrize(
    ("mode", "count", "last"),
    [
        (Mode.ERROR_MID_STREAM, 3, "error"),
        (Mode.ERROR_FIRST_LINE, 1, "error"),
        (Mode.NO_DONE, 8, "response"),
    ],
)
async def test_streams_that_end_wrongly(
    fake: FakeOllama, http: aiohttp.ClientSession, mode: Mode, count: int, last: str
) -> None:
    """These faults end the stream in order, with status 200 and without `done`."""
    fake.mode = mode
    async with http.post("/api/generate", json=HELLO) as response:
        assert response.status == 200
        lines = [json.loads(line) for line in await lines_of(response)]
    assert len(lines) == count
    assert last in lines[-1]
    assert not any(line.get("done") for line in lines)
    assert fake.requests[0].finished


@pytest.mark.parametrize("mode", [Mode.ERROR_MID_STREAM, Mode.ERROR_FIRST_LINE])
async def test_whole_answers_have_a_status_for_errors(
    fake: FakeOllama, http: aiohttp.ClientSession, mode: Mode
) -> None:
    """Where nothing was sent yet, a dying runner is a 500."""
    fake.mode = mode
    status, answer = await post_json(http, "/api/chat", TALK | {"stream": False})
    assert status == 500
    assert answer["error"].endswith("unexpected EOF")


async def test_cut_mid_stream(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """The connection closes in the middle of a line, after two whole ones; nobody counts as having left."""
    fake.mode = Mode.CUT_MID_STREAM
    received = b""
    with pytest.raises(aiohttp.ClientPayloadError):  # noqa: PT012 - the error comes while reading
        async with http.post("/api/generate", json=HELLO) as response:
            async for data in response.content.iter_any():
                received += data
    *whole, part = received.split(b"\n")
    assert [json.loads(line)["response"] for line in whole] == [" Hello", " from"]
    assert part.startswith(b'{"model"')
    await fake.wait_until(lambda: fake.open_connections == 0)
    assert (fake.requests[0].finished, fake.requests[0].disconnected_at) == (False, None)


@pytest.mark.parametrize("path", ["/api/chat", "/api/embed"])
async def test_cut_whole_answer(fake: FakeOllama, http: aiohttp.ClientSession, path: str) -> None:
    """An answer that is not streamed is cut before the length that it declared."""
    fake.mode = Mode.CUT_MID_STREAM
    body = TALK | {"stream": False, "input": "some text"}
    with pytest.raises(aiohttp.ClientPayloadError):
        await post_json(http, path, body)


async def test_close_before_headers(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """The connection closes and not one byte was sent."""
    fake.mode = Mode.CLOSE_BEFORE_HEADERS
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await post_json(http, "/api/generate", HELLO)


async def test_garbage(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """Nonsense comes with status 200: a page of HTML, or lines that are not JSON."""
    fake.mode = Mode.GARBAGE
    async with http.post("/api/generate", json=HELLO) as response:
        assert (response.status, response.content_type) == (200, "text/html")
    fake.mode = Mode.GARBAGE_JSON
    async with http.post("/api/generate", json=HELLO) as response:
        assert (response.status, response.content_type) == (200, "application/x-ndjson")
        for line in await lines_of(response):
            with pytest.raises(ValueError, match=r"Expecting|decode"):
                json.loads(line)


async def test_huge_lines(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """Lines of more than a megabyte arrive whole."""
    fake.mode = Mode.HUGE_LINES
    async with http.post("/api/generate", json=HELLO) as response:
        lines = await lines_of(response)
    assert [len(line) > 2**20 for line in lines] == [True, True, True, False]
    assert json.loads(lines[-1])["done"] is True


async def test_odd_unicode(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """Characters that Python takes for line ends stand unescaped in the text, beside an emoji."""
    fake.mode = Mode.ODD_UNICODE
    async with http.post("/api/generate", json=HELLO) as response:
        text = (await response.read()).decode()
    assert all(odd in text for odd in "\u0085\u2028\u2029\U0001f680")
    assert len(text.splitlines()) > text.count("\n") == 5


@pytest.mark.parametrize("body", [HELLO, WHOLE])
async def test_split_lines(fake: FakeOllama, body: dict[str, Any]) -> None:
    """Each line comes in three pieces, so that some read ends in the middle of it; nothing is lost."""
    fake.mode = Mode.SPLIT_LINES
    fake.piece_delay = 0.01
    reads: list[bytes] = []
    async with raw(fake) as (reader, writer):
        writer.write(raw_post("/api/generate", body | {"options": {"num_predict": 1}}))
        while not b"".join(reads).endswith((b"\n0\r\n\r\n", b"}")):
            reads.append(await asyncio.wait_for(reader.read(65536), 5))
    assert len(reads) >= 3
    assert not any(read.endswith(b"}\n\r\n") for read in reads[:2])


async def test_slow_first_byte(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """The headers wait for the delay."""
    fake.mode, fake.first_byte_delay = Mode.SLOW_FIRST_BYTE, 0.2
    started = time.monotonic()
    async with http.post("/api/generate", json=HELLO) as response:
        assert time.monotonic() - started >= 0.2
        assert len(await lines_of(response)) == 9


@pytest.mark.parametrize("body", [HELLO, WHOLE])
async def test_slow_tokens(fake: FakeOllama, http: aiohttp.ClientSession, body: dict[str, Any]) -> None:
    """A generation takes a delay a word."""
    fake.mode, fake.token_delay = Mode.SLOW_TOKENS, 0.02
    started = time.monotonic()
    async with http.post("/api/generate", json=body) as response:
        await response.read()
    assert time.monotonic() - started >= 8 * 0.02


@pytest.mark.usefixtures("uninterrupted")
@pytest.mark.parametrize("mode", [Mode.HANG_BEFORE_HEADERS, Mode.HANG_MID_STREAM, Mode.SLOW_FIRST_BYTE])
@pytest.mark.parametrize("body", [HELLO, WHOLE])
async def test_disconnect_is_seen_at_once(fake: FakeOllama, mode: Mode, body: dict[str, Any]) -> None:
    """A client that leaves while the server is silent is noticed within milliseconds."""
    fake.mode, fake.first_byte_delay = mode, 60
    async with raw(fake) as (reader, writer):
        writer.write(raw_post("/api/generate", body))
        await fake.wait_for_request("/api/generate")
        if mode is Mode.HANG_MID_STREAM:
            await reader.readuntil(b"\r\n\r\n")
        left = time.monotonic()
    record = await fake.wait_for_disconnect()
    assert record.disconnected_at is not None
    assert record.disconnected_at - left < AT_ONCE
    assert not record.finished
    await fake.wait_until(lambda: fake.open_connections == 0)
    assert fake.active == 0


async def test_disconnect_while_the_client_does_not_read(fake: FakeOllama) -> None:
    """A client that leaves with megabytes unread is noticed as well."""
    fake.words = ("x" * 2**20,) * 32  # more than the kernel's buffers hold
    async with raw(fake) as (reader, writer):
        writer.write(raw_post("/api/generate", HELLO))
        await reader.readexactly(10)
        writer.transport.abort()
    assert not (await fake.wait_for_disconnect()).finished


async def test_gate_lets_a_stream_proceed_word_by_word(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """Held, nothing leaves; each release lets so many lines out; released for good, the rest follows."""
    fake.hold()
    request = asyncio.ensure_future(http.post("/api/generate", json=HELLO))
    await fake.wait_for_request()
    done, _ = await asyncio.wait({request}, timeout=0.05)
    assert not done
    fake.release(2)
    async with await request as response:
        assert [json.loads(await response.content.readline())["response"] for _ in "12"] == [
            " Hello",
            " from",
        ]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.content.readline(), 0.05)
        fake.release()
        assert len(await lines_of(response)) == 7


async def test_gate_holds_a_whole_answer(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """An answer that is not streamed needs one permit."""
    fake.hold()
    request = asyncio.ensure_future(post_json(http, "/api/generate", WHOLE))
    await fake.wait_for_request()
    assert fake.active == 1
    fake.release(1)
    assert (await request)[0] == 200


async def test_probes_have_their_own_mode(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """`probe_mode` touches version and tags; `mode` touches inference."""
    fake.probe_mode = Mode.ERROR_500
    async with http.get("/api/tags") as response:
        assert response.status == 500
    assert (await post_json(http, "/api/generate", WHOLE))[0] == 200
    fake.probe_mode, fake.mode = Mode.NORMAL, Mode.ERROR_500
    async with http.get("/api/version") as response:
        assert response.status == 200


async def test_probe_hangs(fake: FakeOllama) -> None:
    """A hanging probe never answers, and notices that its client left."""
    fake.probe_mode = Mode.HANG_BEFORE_HEADERS
    async with raw(fake) as (_, writer):
        writer.write(b"GET /api/tags HTTP/1.1\r\nHost: x\r\n\r\n")
        await fake.wait_for_request("/api/tags")
    assert (await fake.wait_for_disconnect()).path == "/api/tags"


async def test_records(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """A request is kept as it came: method, path, query, headers in order with lower-case names, body."""
    before = time.monotonic()
    headers = {"X-API-Key": "secret"}
    async with http.post("/api/generate?ts=1", json=WHOLE, headers=headers) as response:
        await response.read()
    record = await fake.wait_for_request("/api/generate")
    assert (record.method, record.path, record.query) == ("POST", "/api/generate", "ts=1")
    assert record.json() == WHOLE
    assert ("x-api-key", "secret") in record.headers
    assert record.header("X-API-Key") == "secret"
    assert record.header("Cookie") is None
    assert before <= record.started <= time.monotonic()
    assert (record.finished, record.disconnected_at) == (True, None)


async def test_waiting_hands_out_each_request_once(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """Two waits give two requests, in order of arrival; a third runs out of time."""
    for prompt in ("one", "two"):
        await post_json(http, "/api/generate", WHOLE | {"prompt": prompt})
    found = [(await fake.wait_for_request()).json()["prompt"] for _ in range(2)]
    assert found == ["one", "two"]
    with pytest.raises(TimeoutError):
        await fake.wait_for_request(timeout=0.01)


async def test_counts(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """It counts connections, the inference requests in progress, and the most there ever were."""
    fake.hold()
    calls = [asyncio.ensure_future(post_json(http, "/api/generate", WHOLE)) for _ in range(5)]
    await fake.wait_until(lambda: fake.active == 5)
    async with http.get("/api/version") as response:
        assert response.status == 200
    assert fake.open_connections == 6
    fake.release()
    await asyncio.gather(*calls)
    assert (fake.active, fake.max_active) == (0, 5)


async def test_connection_is_kept(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """Requests one after the other use one connection, streams included."""
    for _ in range(3):
        async with http.post("/api/generate", json=HELLO) as response:
            await response.read()
    assert fake.open_connections == 1


async def test_pipelined_request_is_not_lost(fake: FakeOllama) -> None:
    """A request that arrives while the one before is answered is answered next."""
    fake.hold()
    async with raw(fake) as (reader, writer):
        writer.write(raw_post("/api/generate", WHOLE))
        await fake.wait_for_request()
        writer.write(b"GET /api/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await asyncio.sleep(0.02)
        fake.release()
        answers = await reader.read()
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert answers.endswith(b'{"version":"0.9.3"}')


async def test_chunked_request_body(fake: FakeOllama, http: aiohttp.ClientSession) -> None:
    """A body without a length is read to its end."""

    async def body() -> AsyncIterator[bytes]:
        data = json.dumps(WHOLE).encode()
        yield data[:5]
        yield data[5:]

    async with http.post("/api/generate", data=body()) as response:
        assert response.status == 200
    assert (await fake.wait_for_request()).json() == WHOLE


async def test_expect_continue(fake: FakeOllama) -> None:
    """A client that asks whether to send its body is told to go on."""
    async with raw(fake) as (reader, writer):
        head, _, body = raw_post("/api/generate", WHOLE).partition(b"\r\n\r\n")
        writer.write(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")


async def test_stop_and_start_again() -> None:
    """Stopping cuts what runs and refuses what comes; started again, it has the same address."""
    async with FakeOllama(mode=Mode.HANG_MID_STREAM) as fake:
        url = fake.url
        async with raw(fake) as (reader, writer):
            writer.write(raw_post("/api/generate", HELLO))
            await reader.readuntil(b"\r\n\r\n")
            await fake.stop()
            assert b"\r\n0\r\n" not in await reader.read()
        assert fake.open_connections == 0
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", fake.port)
        await fake.start()
        assert fake.url == url
        async with raw(fake):
            await fake.wait_until(lambda: fake.open_connections == 1)


async def test_thousand_at_once(fake: FakeOllama) -> None:
    """A thousand connections at once are all accepted and all answered."""

    async def call() -> bytes:
        async with raw(fake) as (reader, writer):
            writer.write(b"GET /api/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return await reader.read()

    answers = await asyncio.gather(*(call() for _ in range(1000)))
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)


async def test_a_bug_in_the_fake_is_not_silent(fake: FakeOllama) -> None:
    """An exception inside the fake reaches the test that used it."""

    async def ask_and_break() -> None:
        async with FakeOllama(words=()) as broken, raw(broken) as (reader, writer):
            broken.words = None  # type: ignore[assignment]
            writer.write(raw_post("/api/generate", WHOLE))
            await reader.read()

    with pytest.raises(TypeError):
        await ask_and_break()
