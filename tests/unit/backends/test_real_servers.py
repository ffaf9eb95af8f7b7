"""Servers of the OpenAI API as they are: strict, terse, half there; before a fake that answers as they were seen to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from mlops_backend.errors import AppError, BackendBusy, BackendRejected, NotImplementedHere
from mlops_backend.services.llm import asked as tasks
from mlops_backend.services.llm.asked import read_asked
from mlops_backend.services.llm.backends.openai import OpenAIBackend
from mlops_backend.services.llm.backends.pool import BackendPool
from mlops_backend.services.llm.backends.refusals import Refusals
from mlops_backend.services.llm.dialects.openai.listing import capabilities, entries
from mlops_backend.services.llm.upstream.client import Upstream
from mlops_backend.telemetry.record import RequestRecord
from tests.fakes.http11 import Connection, Reply, Request
from tests.fakes.openai_server import FakeOpenAI

CHAT: dict[str, Any] = {"model": "Qwen/Qwen3-8B", "messages": [{"role": "user", "content": "hi"}]}


@dataclass(kw_only=True, eq=False)
class StrictServer(FakeOpenAI):
    """Refuses the fields in `unknown` with `words`; `lists` and `refuses` are its answers to other requests."""

    unknown: tuple[str, ...] = ()
    words: str = "Unexpected fields in the request: {field}"
    lists: tuple[int, str] | None = None
    refuses: tuple[int, str, Mapping[str, str]] | None = None
    closes: int = 0
    seen: list[dict[str, Any]] = field(default_factory=list)

    async def answer(self, connection: Connection, request: Request) -> None:
        """Answer one request."""
        if request.method == "GET" and self.lists is not None:
            status, text = self.lists
            await connection.send(Reply(status, "text/plain", text.encode()))
            return
        if request.method == "POST":
            self.seen.append(json.loads(request.body))
            if self.refuses is not None:
                status, text, headers = self.refuses
                kind = "application/json" if text.startswith("{") else "text/html"
                await connection.send(Reply(status, kind, text.encode(), dict(headers)))
                return
            for name in self.unknown:
                if f'"{name}"'.encode() in request.body:
                    detail = json.dumps({"detail": self.words.format(field=name)})
                    await connection.send(Reply(422, "application/json", detail.encode()))
                    return
        await super().answer(connection, request)


@dataclass(kw_only=True, eq=False)
class LMStudio(FakeOpenAI):
    """Has a second list, of its own; `None`: it has none."""

    more: list[dict[str, Any]] | None = None

    async def answer(self, connection: Connection, request: Request) -> None:
        """Answer one request."""
        if request.path == "/api/v0/models" and self.more is not None:
            await connection.send(Reply(200, "application/json", json.dumps({"data": self.more}).encode()))
        else:
            await super().answer(connection, request)


@asynccontextmanager
async def before(server: FakeOpenAI, **told: Any) -> AsyncIterator[OpenAIBackend]:
    """The backend before a server."""
    upstream = Upstream(max_connections=10, connect_timeout=5, user_agent="test")
    await upstream.open()
    async with server:
        try:
            yield OpenAIBackend(server.url, upstream, **told)
        finally:
            assert upstream.active == 0
            await upstream.aclose()


async def ask(backend: OpenAIBackend, path: str = "/api/chat", **body: Any) -> list[dict[str, Any]]:
    """The lines, or the one object, of an answer."""
    content = json.dumps({**CHAT, **body}).encode()
    task = tasks.OPENAI_GENERATE if path.startswith("/v1/") else tasks.GENERATE
    async with backend.forward(read_asked(task, "POST", path, (), content), RequestRecord("r", "POST")) as answer:
        return [json.loads(line) for line in b"".join([chunk async for chunk in answer.chunks]).splitlines()]


@pytest.mark.parametrize("words", ["Unexpected fields in the request: {field}", "invalid request"])
@pytest.mark.parametrize(
    ("unknown", "body"),
    [
        ("stream_options", {}),
        ("chat_template_kwargs", {"think": False}),
        (
            "reasoning_content",
            {"messages": [{"role": "assistant", "content": "a", "thinking": "b"}, *CHAT["messages"]]},
        ),
    ],
)
async def test_an_ornament_costs_no_answer(unknown: str, body: dict[str, Any], words: str) -> None:
    """The server is asked again without it, once; from then on it is left out."""
    server = StrictServer(unknown=(unknown,), words=words)
    async with before(server) as backend:
        for asked in (2, 3):
            lines = await ask(backend, **body)
            assert lines[-1]["done"] is True
            assert lines[-1]["eval_count"] in (2, 3)  # told, or estimated
            assert len(server.seen) == asked
        assert unknown not in json.dumps(server.seen[-1])


async def test_fields_of_sampling_are_left_out_when_they_are_named() -> None:
    """A format is not: its answer would be another one."""
    server = StrictServer(unknown=("top_k", "response_format"))
    async with before(server) as backend:
        assert (await ask(backend, options={"top_k": 5, "temperature": 1}))[-1]["done"] is True
        assert server.seen[-1]["temperature"] == 1
        with pytest.raises(BackendRejected, match="response_format") as told:
            await ask(backend, format="json")
        assert told.value.status == 422


async def test_a_maximum_that_does_not_fit_is_left_out_for_this_once() -> None:
    """It depends on the prompt, so it is not remembered."""
    server = StrictServer(unknown=("max_tokens",), words="max_tokens is too large: the maximum context length is 9")
    async with before(server) as backend:
        for _ in range(2):
            assert (await ask(backend, options={"num_predict": 100}))[-1]["done"] is True
        assert ["max_tokens" in body for body in server.seen] == [True, False, True, False]


async def test_a_maximum_stays_where_something_else_is_refused_beside_it() -> None:
    """A server that tells all that it was sent refuses one field of it; a budget holds by the maximum."""
    server = StrictServer(unknown=("top_k",), words="{field} is unknown in top_k=5, max_tokens=100")
    async with before(server) as backend:
        assert (await ask(backend, options={"num_predict": 100, "top_k": 5}))[-1]["done"] is True
        assert [("top_k" in body, "max_tokens" in body) for body in server.seen] == [(True, True), (False, True)]


REFUSALS: dict[str, tuple[int, str, int, str]] = {
    "FastAPI's text": (400, '{"detail": "no such thing"}', 400, "no such thing"),
    "FastAPI's list": (
        422,
        '{"detail": [{"loc": ["body", "stop"], "msg": "too many", "input": "a secret"}]}',
        422,
        "body.stop: too many",
    ),
    "plain text": (500, "Internal Server Error", 502, "Internal Server Error"),
    "a page": (502, "<html><head><title>x</title></head><body><h1>Bad  Gateway</h1></body></html>", 502, "Bad Gateway"),
    "a message alone": (400, '{"message": "no"}', 400, "no"),
    "an unknown model of llama.cpp's": (
        400,
        """{"error": {"message": "model 'x' not found"}}""",
        404,
        "model 'x' not found",
    ),
    "an unknown model of LiteLLM's": (
        400,
        '{"error": {"message": "Invalid model name passed in model=x"}}',
        404,
        "Invalid model name passed in model=x",
    ),
    "an unknown model of Mistral's": (400, '{"message": "Invalid model: x"}', 404, "Invalid model: x"),
    "a model that is not for everybody": (403, """{"error": "model 'x' not found"}""", 403, "model 'x' not found"),
    "another missing thing": (400, '{"error": "file of the model not found"}', 400, "file of the model not found"),
    "an unknown model": (404, '{"detail": "Got request for model x"}', 404, "Got request for model x"),
    "not done there": (501, '{"error": {"message": "started without it"}}', 501, "started without it"),
    "no route": (404, '{"detail": "Not Found"}', 501, "This backend has no route /v1/chat/completions."),
    "no route in Go": (404, "404 page not found\n", 501, "This backend has no route /v1/chat/completions."),
    "no route in Rust": (404, "", 501, "This backend has no route /v1/chat/completions."),
    "no route in JavaScript": (
        404,
        "<html><body><pre>Cannot POST /v1/chat/completions</pre></body></html>",
        501,
        "This backend has no route /v1/chat/completions.",
    ),
    "no route in LM Studio": (
        404,
        '{"error":"Unexpected endpoint or method. (POST /v1/chat/completions)"}',
        501,
        "This backend has no route /v1/chat/completions.",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_the_servers_own_words_are_told(name: str) -> None:
    """Shortened, without what the client sent; a route that is missing is no model that is."""
    status, text, expected, words = REFUSALS[name]
    async with before(StrictServer(refuses=(status, text, {}))) as backend:
        with pytest.raises(AppError) as told:
            await ask(backend)
        assert (told.value.status, told.value.message) == (expected, words)


async def test_a_native_route_that_is_missing_is_told_so() -> None:
    """A client of Anthropic or OpenAI gets an error in its own form, not FastAPI's; a missing model stays as it is."""
    async with before(StrictServer(refuses=(404, '{"detail":"Not Found"}', {}))) as backend:
        with pytest.raises(NotImplementedHere, match="/v1/embeddings"):
            await ask(backend, "/v1/embeddings")
        with pytest.raises(NotImplementedHere, match="/v1/chat/completions"):  # over which it would be carried
            await ask(backend, "/v1/messages", max_tokens=9)
    async with before(StrictServer(refuses=(404, '{"error":{"message":"no model"}}', {}))) as backend:
        assert await ask(backend, "/v1/chat/completions") == [{"error": {"message": "no model"}}]


@pytest.mark.parametrize(("status", "kind"), [(429, BackendRejected), (503, BackendBusy)])
async def test_how_long_to_wait_is_passed_on(status: int, kind: type[AppError]) -> None:
    """`Retry-After` belongs to the refusal."""
    async with before(StrictServer(refuses=(status, '{"error":"busy"}', {"Retry-After": "7"}))) as backend:
        with pytest.raises(kind) as told:
            await ask(backend)
        assert told.value.headers["Retry-After"] == "7"


@pytest.mark.parametrize("named", [(), ("mine",)])
async def test_a_server_whose_list_fails_still_serves(named: tuple[str, ...]) -> None:
    """It is there, until a generation fails as well; its list's failure is told; named models are listed."""
    server = StrictServer(lists=(500, "Internal Server Error"))
    async with before(server, named=named) as backend:
        pool = BackendPool(timeout=5)
        pool.use([backend])
        [probe] = await pool.probe()
        assert (probe.reachable, probe.lists) == (True, bool(named))
        assert tuple(model["name"] for model in probe.models) == named
        assert "list of models" in (probe.note if named else probe.error)
        assert (await ask(backend))[-1]["done"] is True
        server.refuses = (500, "Internal Server Error", {})
        with pytest.raises(AppError):
            await ask(backend)
        with pytest.raises(AppError):
            await backend.version()
        pool.use([])  # what is known of it goes with it
        pool.use([backend])
        [probe] = await pool.probe()
        assert (probe.reachable, probe.models) == (False, ())
        await pool.close()


async def native(backend: OpenAIBackend) -> int:
    """The status of an answer to a client of `/v1`."""
    asked = read_asked(tasks.OPENAI_GENERATE, "POST", "/v1/chat/completions", (), json.dumps(CHAT).encode())
    async with backend.forward(asked, RequestRecord("r", "POST")) as answer:
        async for _ in answer.chunks:
            pass
        return answer.status


async def test_a_native_generation_tells_of_the_server_too() -> None:
    """Where the list fails, the last answer to a client of `/v1` decides whether it is there."""
    server = StrictServer(lists=(500, "Internal Server Error"))
    async with before(server) as backend:
        assert await native(backend) == 200
        assert await backend.version() == "openai"
        server.refuses = (500, "Internal Server Error", {})
        assert await native(backend) == 500
        with pytest.raises(AppError):
            await backend.version()


async def test_the_server_describes_its_models_itself() -> None:
    """What its list has is not thrown away."""
    async with before(FakeOpenAI()) as backend:
        await backend.tags()
        told = backend.described("qwen/qwen3-8b:latest")
        assert told is not None
        assert (told["owned_by"], told["max_model_len"]) == ("vllm", 40960)


TOLD: dict[str, tuple[dict[str, Any], set[str]]] = {
    "nothing": ({"id": "m"}, {"completion", "tools"}),
    "llama.cpp": ({"id": "m", "capabilities": ["completion", "multimodal"]}, {"completion", "vision", "tools"}),
    "its router": (
        {"id": "m", "architecture": {"input_modalities": ["text", "image"]}},
        {"completion", "vision", "tools"},
    ),
    "OpenRouter": ({"id": "m", "supported_parameters": ["reasoning"]}, {"completion", "thinking"}),
    "LM Studio": ({"id": "m", "type": "vlm", "capabilities": ["tool_use"]}, {"completion", "vision", "tools"}),
    "Mistral": ({"id": "m", "capabilities": {"vision": True, "function_calling": False}}, {"completion", "vision"}),
    "infinity": ({"id": "m", "capabilities": ["embed"]}, {"embedding"}),
}


@pytest.mark.parametrize("name", TOLD)
def test_capabilities_are_what_the_server_tells(name: str) -> None:
    """Each in its own words."""
    entry, expected = TOLD[name]
    assert capabilities(entry) == expected


def test_what_llama_cpp_tells_beside_its_list_is_taken() -> None:
    """Its `models` have what its `data` lack."""
    body = {"data": [{"id": "m"}], "models": [{"model": "m", "capabilities": ["completion", "multimodal"]}]}
    [entry] = entries(json.dumps(body).encode())
    assert "vision" in capabilities(entry)


async def test_lm_studios_own_list_is_read_too() -> None:
    """Its `/v1/models` says nothing but names; a server without the other list loses nothing."""
    bare = {"id": "qwen2-vl", "object": "model", "owned_by": "organization_owner"}
    own = {"id": "qwen2-vl", "type": "vlm", "capabilities": ["tool_use"], "max_context_length": 32768}
    for more, expected in (([own], ["completion", "tools", "vision"]), (None, ["completion", "tools"])):
        async with before(LMStudio(models=[bare], more=more)) as backend:
            shown = await backend.show("qwen2-vl")
            assert shown["capabilities"] == expected
            told = backend.described("qwen2-vl")
            assert told is not None
            assert told["owned_by"] == "organization_owner"
            assert ("unknown.context_length" in shown["model_info"]) is (more is not None)


async def test_a_refusal_teaches_and_the_operator_knows_better() -> None:
    """What a model refused is not said of it any more, for a while; the setting counts before all."""
    words = '{"error": {"message": "\\"auto\\" tool choice requires --enable-auto-tool-choice"}}'
    server = StrictServer(refuses=(400, words, {}))
    tools = [{"type": "function", "function": {"name": "f"}}]
    async with before(server, capabilities={"other*": frozenset({"vision"})}) as backend:
        assert (await backend.show(CHAT["model"]))["capabilities"] == ["completion", "tools"]
        with pytest.raises(BackendRejected):
            await ask(backend, tools=tools)
        assert (await backend.show(CHAT["model"]))["capabilities"] == ["completion"]
    async with before(FakeOpenAI(), capabilities={"Qwen/*": frozenset({"completion", "vision"})}) as backend:
        assert (await backend.show(CHAT["model"]))["capabilities"] == ["completion", "vision"]


def test_what_is_remembered_has_a_bound_and_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may be started anew with other options."""
    now = [100.0]
    monkeypatch.setattr("mlops_backend.services.llm.backends.refusals.monotonic", lambda: now[0])
    refusals = Refusals()
    for number in range(3000):
        refusals.learn(f"m{number}", "this is not a multimodal model")
    assert refusals.lacking("m2999") == {"vision"}
    assert refusals.lacking("m0") == set()
    now[0] += 601
    assert refusals.lacking("m2999") == set()
