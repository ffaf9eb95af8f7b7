"""A backend that speaks the OpenAI API, before a fake server of it: translation, and its own routes as they are."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mlops_backend.errors import (
    AppError,
    BackendFailed,
    BackendRefused,
    BackendRejected,
    BadRequest,
    InvalidJSON,
    NotImplementedHere,
)
from mlops_backend.services.llm import asked as tasks
from mlops_backend.services.llm.asked import Asked, read_asked
from mlops_backend.services.llm.backends.openai import OpenAIBackend
from mlops_backend.services.llm.backends.openai_address import openai_places
from mlops_backend.services.llm.upstream.client import Upstream
from mlops_backend.telemetry.record import RequestRecord
from tests.fakes.openai_server import MODEL, VECTOR, FakeOpenAI

NAME = "Qwen/Qwen3-8B"
QUESTION = [{"role": "user", "content": "hi"}]
TASKS = {"/v1/chat/completions": tasks.OPENAI_GENERATE, "/api/show": tasks.SHOW}
# What only llama.cpp, vLLM or Ollama know.
EMPTY = {"type": "object", "properties": {}}
FOREIGN = {"min_p", "repeat_penalty", "repetition_penalty", "typical_p", "n_keep", "repeat_last_n", "json_schema"}


@asynccontextmanager
async def _before(url: str) -> AsyncIterator[OpenAIBackend]:
    upstream = Upstream(max_connections=10, connect_timeout=5, user_agent="test")
    await upstream.open()
    try:
        yield OpenAIBackend(url, upstream)
    finally:
        assert upstream.active == 0
        await upstream.aclose()


@pytest.fixture
async def openai() -> AsyncIterator[FakeOpenAI]:
    """A healthy server with one model."""
    async with FakeOpenAI() as server:
        yield server


@pytest.fixture
async def backend(openai: FakeOpenAI) -> AsyncIterator[OpenAIBackend]:
    """The backend before it."""
    async with _before(openai.url) as backend:
        yield backend


def _record() -> RequestRecord:
    return RequestRecord("a-request", "POST")


def _asked(path: str, body: Any, method: str = "POST") -> Asked:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_asked(TASKS.get(path, tasks.GENERATE), method, path, (), content)


async def _forward(
    backend: OpenAIBackend, path: str, body: Any, record: RequestRecord | None = None
) -> tuple[str, bytes]:
    """The answer's type and its whole body."""
    async with backend.forward(_asked(path, body), record or _record()) as answer:
        assert answer.status == 200
        return answer.content_type, b"".join([chunk async for chunk in answer.chunks])


async def _lines(backend: OpenAIBackend, path: str, body: Any) -> list[dict[str, Any]]:
    kind, whole = await _forward(backend, path, body)
    assert kind == "application/x-ndjson"
    assert whole.endswith(b"\n")
    return [json.loads(line) for line in whole[:-1].split(b"\n")]


@pytest.mark.parametrize(
    ("url", "base", "authorization"),
    [
        ("http://host:1/v1", "http://host:1/v1", None),
        ("http://host:1", "http://host:1/v1", None),
        ("http://host:1/v1/", "http://host:1/v1", None),
        ("http://host/gpt/v1", "http://host/gpt/v1", None),
        ("http://host/gpt", "http://host/gpt/v1", None),
        ("http://host/api/paas/v4", "http://host/api/paas/v4", None),
        ("http://host/v1beta/openai/", "http://host/v1beta/openai", None),
        ("http://:s%2Fk@host:1", "http://host:1/v1", "Bearer s/k"),
        ("http://user:pw@host:1/v1", "http://host:1/v1", "Basic dXNlcjpwdw=="),
    ],
)
def test_an_address_is_split(url: str, base: str, authorization: str | None) -> None:
    """`/v1` is added where no version is, and a password without a user is a key; only then may the root be meant."""
    places = openai_places(url)
    target = places.current
    assert target.url == base
    assert places.several is not ("/v1" in url or "/v4" in url)
    assert target.headers.get("Authorization") == authorization


async def test_a_key_is_sent_and_shown_nowhere() -> None:
    """The server gets its key on every route, under its own path; the address that is shown has none."""
    async with FakeOpenAI(key="secret", base="/gpt") as server:
        url = server.url.replace("http://", "http://:secret@") + "/gpt/v1"
        async with _before(url) as backend:
            assert "secret" not in backend.address
            assert backend.kind == "openai"
            assert await backend.version() == "openai"
            body = {"model": NAME, "messages": QUESTION}
            await _forward(backend, "/api/chat", body)
            await _forward(backend, "/v1/chat/completions", body)
        assert [request.path for request in server.requests] == [
            "/gpt/v1/models",
            "/gpt/v1/chat/completions",
            "/gpt/v1/chat/completions",
        ]
        async with _before(server.url + "/gpt") as backend:
            with pytest.raises(BackendFailed, match="credentials"):
                await backend.version()


async def test_models_are_listed_as_ollama_lists_them(backend: OpenAIBackend) -> None:
    """What the API does not tell is zero or empty; a digest is there, since Ollama's command line needs one."""
    [tag] = await backend.tags()
    [loaded] = await backend.running()
    assert tag["name"] == tag["model"] == NAME
    assert (tag["size"], tag["modified_at"], tag["details"]["family"]) == (0, "2023-11-14T22:13:20Z", "")
    assert len(tag["digest"]) == 64
    assert (loaded["size_vram"], loaded["context_length"]) == (0, 40960)
    assert loaded["expires_at"] > "2300"


async def test_a_model_is_shown(backend: OpenAIBackend) -> None:
    """`/api/show` tells what is known, by either name of the field; an unknown model is not found."""
    for body in ({"model": NAME}, {"name": "qwen/QWEN3-8b:latest"}):
        kind, whole = await _forward(backend, "/api/show", body)
        shown = json.loads(whole)
        assert kind == "application/json; charset=utf-8"
        assert {"modelfile", "parameters", "template", "details", "model_info", "modified_at"} <= shown.keys()
        assert shown["capabilities"] == ["completion", "tools"]
        info = shown["model_info"]
        assert info[f"{info['general.architecture']}.context_length"] == 40960
    with pytest.raises(BackendRejected, match="model 'x' not found") as caught:
        await _forward(backend, "/api/show", {"model": "x"})
    assert caught.value.status == 404
    with pytest.raises(BadRequest, match="model is required"):
        await _forward(backend, "/api/show", {})


async def test_one_model_is_described_as_the_server_does(backend: OpenAIBackend) -> None:
    """`/v1/models/{id}` is an entry of the list, since few servers have that route."""
    asked = Asked(tasks.OPENAI_READ, "GET", "/v1/models/Qwen%2FQwen3-8B")
    async with backend.forward(asked, _record()) as answer:
        assert json.loads(b"".join([chunk async for chunk in answer.chunks])) == MODEL


async def test_a_chat_is_streamed_unless_the_client_says_no(backend: OpenAIBackend) -> None:
    """Absent and `null` mean a stream, as with Ollama; `false`, in whatever spelling Go takes, one object."""
    body = {"model": NAME, "messages": QUESTION}
    for streamed in (body, {**body, "stream": None}, {**body, "stream": True}):
        lines = await _lines(backend, "/api/chat", streamed)
        assert [line["message"]["content"] for line in lines] == ["Hello", " there", ""]
        assert lines[-1].items() >= {"done": True, "done_reason": "stop", "eval_count": 2}.items()
    kind, whole = await _forward(backend, "/api/chat", {**body, "STREAM": False})
    assert kind == "application/json; charset=utf-8"
    assert not whole.endswith(b"\n")
    assert json.loads(whole)["message"]["content"] == "Hello there"


async def test_a_prompt_goes_through_the_template_or_around_it(backend: OpenAIBackend, openai: FakeOpenAI) -> None:
    """`generate` is a chat of one turn; with `raw` or a `suffix` it is a bare completion."""
    for extra, path in (({}, "chat/completions"), ({"raw": True}, "completions"), ({"suffix": "}"}, "completions")):
        lines = await _lines(backend, "/api/generate", {"model": NAME, "prompt": "hi", **extra})
        assert "".join(line["response"] for line in lines) == "Hello there"
        assert openai.requests[-1].path == f"/v1/{path}"
    assert openai.requests[-1].json()["suffix"] == "}"


async def test_only_what_the_client_set_is_sent(backend: OpenAIBackend, openai: FakeOpenAI) -> None:
    """Such a server may refuse fields that it does not know: none is sent by translation alone."""
    body = {"model": NAME, "messages": QUESTION, "stream": False}
    await _forward(backend, "/api/chat", body)
    assert openai.requests[-1].json() == {"model": NAME, "messages": QUESTION, "stream": False}
    await _forward(backend, "/api/generate", {**body, "prompt": "hi", "raw": True, "format": {"type": "object"}})
    assert not openai.requests[-1].json().keys() & FOREIGN
    assert openai.requests[-1].json()["response_format"]["json_schema"]["schema"] == {"type": "object"}
    await _forward(backend, "/api/chat", {**body, "options": {"min_p": 0.1, "repeat_penalty": 1.2, "num_ctx": 9}})
    sent = openai.requests[-1].json()
    assert (sent["min_p"], sent["repeat_penalty"], sent["repetition_penalty"]) == (0.1, 1.2, 1.2)
    assert "num_ctx" not in sent


@pytest.mark.parametrize(
    ("think", "sent"),
    [
        (True, {"chat_template_kwargs": {"enable_thinking": True}}),
        (False, {"chat_template_kwargs": {"enable_thinking": False}}),
        ("high", {"reasoning_effort": "high"}),
        (None, {}),
    ],
)
async def test_thinking_is_asked_for(backend: OpenAIBackend, openai: FakeOpenAI, think: Any, sent: Any) -> None:
    """Whether, and how hard, the model is to think, only when the client says so."""
    await _forward(backend, "/api/chat", {"model": NAME, "messages": QUESTION, "stream": False, "think": think})
    asked = openai.requests[-1].json()
    assert {name: asked[name] for name in ("chat_template_kwargs", "reasoning_effort") if name in asked} == sent


async def test_thinking_of_no_kind_is_refused(backend: OpenAIBackend) -> None:
    """A word that is no level is refused in Ollama's words."""
    with pytest.raises(BadRequest, match='invalid think value: "hard"'):
        await _forward(backend, "/api/chat", {"model": NAME, "messages": QUESTION, "think": "hard"})


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_thoughts_are_heard_under_either_name(backend: OpenAIBackend, openai: FakeOpenAI, name: str) -> None:
    """Servers differ in what they call it."""
    openai.deltas = [{name: "hm"}, {"content": "Yes"}]
    openai.message = {"content": "Yes", name: "hm"}
    body = {"model": NAME, "messages": QUESTION}
    first, second, _ = await _lines(backend, "/api/chat", body)
    assert (first["message"]["thinking"], second["message"]["content"]) == ("hm", "Yes")
    whole = json.loads((await _forward(backend, "/api/chat", {**body, "stream": False}))[1])
    assert whole["message"] == {"role": "assistant", "content": "Yes", "thinking": "hm"}


async def test_tools_and_images_are_translated(backend: OpenAIBackend, openai: FakeOpenAI) -> None:
    """Calls come back as objects, and the tool's answer goes with its call's id, which Ollama's clients do not send."""
    call = {"id": "c1", "index": 0, "function": {"name": "f", "arguments": '{"city": "Rome"}'}}
    openai.deltas, openai.finish_reason = [{"tool_calls": [call]}], "tool_calls"
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    asked = {"role": "user", "content": "weather?", "images": ["/9j/aa=="]}
    called, last = await _lines(backend, "/api/chat", {"model": NAME, "messages": [asked], "tools": tools})
    assert called["message"]["tool_calls"][0]["function"]["arguments"] == {"city": "Rome"}
    assert last["done"] is True
    sent = openai.requests[-1].json()
    assert sent["tools"] == [{"type": "function", "function": {"name": "f", "parameters": EMPTY}}]
    assert sent["messages"][0]["content"][1]["image_url"]["url"] == "data:image/jpeg;base64,/9j/aa=="
    again = [asked, called["message"], {"role": "tool", "content": "sunny", "tool_name": "f"}]
    await _lines(backend, "/api/chat", {"model": NAME, "messages": again})
    _, said, heard = openai.requests[-1].json()["messages"]
    assert heard["tool_call_id"] == said["tool_calls"][0]["id"]
    assert len(heard["tool_call_id"]) == 9


async def test_log_probabilities_of_completions_are_read(backend: OpenAIBackend, openai: FakeOpenAI) -> None:
    """`/v1/completions` has them in lists side by side, but for llama.cpp's."""
    openai.logprobs = {"tokens": ["é"], "token_logprobs": [-0.5], "top_logprobs": [{"é": -0.5, "b": -2.0}]}
    body = {"model": NAME, "prompt": "hi", "raw": True, "stream": False, "logprobs": True, "top_logprobs": 1}
    whole = json.loads((await _forward(backend, "/api/generate", body))[1])
    score = {"token": "é", "logprob": -0.5, "bytes": [195, 169]}
    assert whole["logprobs"] == [{**score, "top_logprobs": [score]}]


async def test_loading_is_answered_in_one_object(backend: OpenAIBackend, openai: FakeOpenAI) -> None:
    """Without a prompt there is nothing to ask the server, and no stream, whatever `stream` says."""
    for body, reason in (({"stream": True}, "load"), ({"keep_alive": 0}, "unload")):
        kind, whole = await _forward(backend, "/api/generate", {"model": NAME, **body})
        assert kind == "application/json; charset=utf-8"
        assert not whole.endswith(b"\n")
        assert json.loads(whole)["done_reason"] == reason
    assert {request.method for request in openai.requests} == {"GET"}


async def test_texts_are_embedded(backend: OpenAIBackend) -> None:
    """`/api/embed` makes vectors of length 1, the older route gives one as it comes, and nothing for nothing."""
    record = _record()
    _, whole = await _forward(backend, "/api/embed", {"model": NAME, "input": ["a", "b"]}, record)
    assert json.loads(whole)["embeddings"] == [[0.6, 0.8], [0.6, 0.8]]
    assert record.prompt_tokens == 7
    assert json.loads((await _forward(backend, "/api/embeddings", {"model": NAME, "prompt": "a"}))[1]) == {
        "embedding": VECTOR
    }
    empty = await _forward(backend, "/api/embeddings", {"model": NAME, "prompt": ""})
    assert json.loads(empty[1]) == {"embedding": []}


async def test_a_model_is_called_by_the_servers_name(backend: OpenAIBackend, openai: FakeOpenAI) -> None:
    """What Ollama's clients write (`qwen/qwen3-8b:latest`) is sent as the server spells it, and answered as written."""
    body = {"model": "qwen/qwen3-8b:latest", "messages": QUESTION, "stream": False}
    whole = json.loads((await _forward(backend, "/api/chat", body))[1])
    assert whole["model"] == "qwen/qwen3-8b:latest"
    assert openai.requests[-1].json()["model"] == NAME


async def test_a_server_that_lists_nothing_still_serves(backend: OpenAIBackend, openai: FakeOpenAI) -> None:
    """Its names are asked for once, and any name is sent as it is."""
    openai.models = []
    for name in ("m", "n:latest"):
        await _forward(backend, "/api/chat", {"model": name, "messages": QUESTION, "stream": False})
        assert openai.requests[-1].json()["model"] == name
    assert [request.method for request in openai.requests] == ["GET", "POST", "POST"]


async def test_its_own_routes_are_relayed_byte_for_byte(backend: OpenAIBackend, openai: FakeOpenAI) -> None:
    """What is asked in the server's words reaches it unchanged, and so does its answer, an error's too."""
    body = b'{"model": "any", "messages": [], "min_p" : 1,"stream":true, "stream_options":{"include_usage":true}}'
    kind, whole = await _forward(backend, "/v1/chat/completions", body)
    assert openai.requests[-1].body == body
    assert kind == "text/event-stream; charset=utf-8"
    assert whole.endswith(b"data: [DONE]\n\n")
    openai.refusal = (422, {"error": {"message": "no"}})
    async with backend.forward(_asked("/v1/responses", {"model": "any"}), _record()) as answer:
        assert answer.status == 422
        assert b"".join([chunk async for chunk in answer.chunks]) == b'{"error": {"message": "no"}}'


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/api/pull", "pulled"),
        ("/api/push", "pushed"),
        ("/api/create", "created"),
        ("/api/copy", "copied"),
        ("/api/delete", "deleted"),
        ("/api/blobs/sha256:aa", "blobs"),
        ("/api/me", "account"),
        ("/api/status", "/api/status"),
    ],
)
async def test_what_has_no_meaning_is_a_501_in_words(backend: OpenAIBackend, path: str, word: str) -> None:
    """Nothing can be managed there, and a sentence says so."""
    with pytest.raises(NotImplementedHere, match=word) as caught:
        await _forward(backend, path, {"model": NAME})
    assert (caught.value.status, caught.value.code) == (501, "not_implemented")


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        (b"", BadRequest, "missing request body"),
        (b"[]", InvalidJSON, "not a JSON object"),
        (b'{"model": "m"', InvalidJSON, "not a JSON object"),
        (b'{"messages": []}', BadRequest, "model is required"),
        (b'{"model": 3}', BadRequest, '"model" must be a string'),
        (b'{"model": "m", "messages": [{"role": "user"}], "stream": "no"}', BadRequest, '"stream" must be a boolean'),
    ],
)
async def test_a_body_that_ollama_would_refuse_is_refused(
    backend: OpenAIBackend, body: bytes, error: type[AppError], words: str
) -> None:
    """Nothing of it reaches the server."""
    with pytest.raises(error, match=words):
        await _forward(backend, "/api/chat", body)


async def test_half_a_character_is_mended(backend: OpenAIBackend, openai: FakeOpenAI) -> None:
    """Bytes and escapes that are no Unicode become U+FFFD, as in Go."""
    body = b'{"model":"m","stream":false,"messages":[{"role":"user","content":"\\ud83c\\udf88 \\ud800 \xff"}]}'
    await _forward(backend, "/api/chat", body)
    assert openai.requests[-1].json()["messages"][0]["content"] == "🎈 \ufffd \ufffd"


async def test_the_servers_refusal_is_told(backend: OpenAIBackend, openai: FakeOpenAI) -> None:
    """Its status and its sentence, before the first byte of a stream as well."""
    openai.refusal = (400, {"error": {"message": "no tools here"}})
    for streamed in (True, False):
        with pytest.raises(BackendRejected, match="no tools here") as caught:
            await _forward(backend, "/api/chat", {"model": NAME, "messages": QUESTION, "stream": streamed})
        assert caught.value.status == 400


async def test_a_stream_that_is_cut_has_no_last_line(backend: OpenAIBackend, openai: FakeOpenAI) -> None:
    """No end is made up: whoever watches the stream sees that it is missing."""
    openai.cut = True
    lines = await _lines(backend, "/api/chat", {"model": NAME, "messages": QUESTION})
    assert [line["done"] for line in lines] == [False, False]


async def test_nobody_at_the_address_is_told_on_entering(openai: FakeOpenAI, backend: OpenAIBackend) -> None:
    """So that another backend can be tried."""
    await openai.stop()
    for path in ("/api/chat", "/v1/chat/completions"):
        with pytest.raises(BackendRefused):
            await _forward(backend, path, {"model": NAME, "messages": QUESTION})
