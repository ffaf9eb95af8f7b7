"""A real Ollama and the embedded engine, with the same model, give the same shapes through our API.

Needs an Ollama that tests may start (`real_ollama.py`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
import pytest_asyncio

from mlops_backend.config import Settings
from tests.e2e.real_ollama import MODEL, NO_ENGINE, engine_is_installed
from tests.service import Service, serving, settings_for

SENTENCE = "Why is the sky blue?"
LONG = "The sky is blue. " * 1000
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": SENTENCE}]
SHORT = {"num_predict": 4, "temperature": 0, "seed": 1}
TINY = {**SHORT, "num_ctx": 32}
SCHEMA = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
TOOL = {"type": "function", "function": {"name": "look", "description": "Look.", "parameters": {"type": "object"}}}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SSE, NDJSON = "text/event-stream", "application/x-ndjson"

DONE_REASONS = {"stop", "length", "load", None}

CONTEXT = {"context": "deprecated; tokens of Ollama's own, which only it can take back"}
LOGPROBS = {"logprobs": "Ollama knows them since 0.12.11"}

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not engine_is_installed(), reason=NO_ENGINE),
]


@dataclass(frozen=True)
class Case:
    """One request to `/api/llm`.

    Attributes:
        path: the route; `streams` stands for beginning a stream and reading it by its address.
        body: without one the request is a GET.
        accept: the media type asked for.
        status: what both answer.
        may_differ: the keys of the last object that only one of them gives -> the reason.
    """

    path: str
    body: Mapping[str, Any] | None = None
    accept: str = "application/json"
    status: int = 200
    may_differ: Mapping[str, str] = field(default_factory=dict)


def generate(path: str = "generate", **fields: Any) -> Case:
    """A completion of some words."""
    body = {"model": MODEL, "prompt": SENTENCE, "options": SHORT, **fields}
    return Case(path, body, may_differ=CONTEXT)


def chat(path: str = "chat", **fields: Any) -> Case:
    """A conversation of some words."""
    return Case(path, {"model": MODEL, "messages": MESSAGES, "options": SHORT, **fields})


def embed(text: Any, **fields: Any) -> Case:
    """The vectors of a text or of several."""
    return Case("embed", {"model": MODEL, "input": text, **fields})


NEWER = {"prompt_eval_cached_count": "an Ollama tells what its cache had from 0.33 on"}
ANSWERED = {
    "models": Case("models"),
    "health": Case("health"),
    "generate": generate(),
    "generate-system": generate(system="Be brief."),
    "generate-raw": generate(raw=True),
    "generate-json": generate(format="json"),
    "generate-schema": generate(format=SCHEMA),
    "generate-stop": generate(options={**SHORT, "stop": ["answer"], "num_predict": 8}),
    "generate-unknown-option": generate(options={**SHORT, "an_option_of_next_month": 1}),
    "generate-no-thinking": generate(think=False),
    "generate-logprobs": replace(generate(logprobs=True, top_logprobs=1), may_differ=CONTEXT | LOGPROBS),
    "generate-load": generate(prompt=""),
    "stream": replace(generate("stream"), accept=NDJSON),
    "stream-sse": replace(generate("stream"), accept=SSE),
    "stream-load": replace(generate("stream", prompt=""), accept=NDJSON),
    "chat": chat(),
    "chat-schema": chat(format=SCHEMA),
    "chat-load": chat(messages=[]),
    "chat-stream": replace(chat(stream=True), accept=NDJSON),
    "chat-stream-sse": replace(chat(stream=True), accept=SSE),
    "streams": replace(generate("streams"), accept=SSE),
    "streams-ndjson": replace(generate("streams"), accept=NDJSON),
    "streams-chat": replace(chat("streams"), accept=SSE),
    "embed": embed(SENTENCE),
    "embed-many": embed([SENTENCE, "Because."]),
    "embed-none": embed([]),
}
# Each differs from another by one thing that the shape of the answer does not depend on.
LONG_RUN = {
    "generate-system",
    "generate-raw",
    "generate-unknown-option",
    "generate-no-thinking",
    "generate-schema",
    "stream-sse",
    "stream-load",
    "chat-load",
    "chat-stream-sse",
    "streams-ndjson",
    "embed-many",
}
REFUSED = {
    "generate-unknown-model": replace(generate(model="nobody"), status=404),
    "stream-unknown-model": replace(generate("stream", model="nobody"), status=404),
    "chat-unknown-model": replace(chat(model="nobody"), status=404),
    "streams-unknown-model": replace(chat("streams", model="nobody"), status=404),
    "embed-unknown-model": replace(embed(SENTENCE, model="nobody"), status=404),
    "generate-bad-option": replace(generate(options={"temperature": "hot"}), status=422),
    "generate-bad-format": replace(generate(format="yaml"), status=422),
    "generate-suffix": replace(generate(suffix="end"), status=400),
    "generate-thinking": replace(generate(think=True), status=400),
    "chat-tools": replace(chat(tools=[TOOL]), status=400),
    "embed-too-long": replace(embed(LONG, truncate=False), status=400),
}
# Ollama 0.9.3 cuts or overlooks what the engine refuses with a sentence.
REFUSED_BY_ENGINE = {
    "an image, which Ollama overlooks where a model has no eyes": generate(images=[PIXEL]),
    "a template, for llama.cpp applies the model's own": generate(template="{{ .Prompt }}"),
    "a context, for it holds Ollama's own tokens": generate(context=[1, 2, 3]),
    "a too long prompt, which Ollama cuts": generate(prompt=LONG, options=TINY),
    "a too long message, which Ollama cuts": chat(messages=[{"role": "user", "content": LONG}], options=TINY),
}


def shape(value: Any) -> Any:
    """Keys and types of a JSON value; of a list the shapes that its items have."""
    match value:
        case dict():
            return {key: shape(inner) for key, inner in value.items()}
        case list():
            return sorted({json.dumps(shape(item), sort_keys=True) for item in value})
    return type(value).__name__


def without(value: Any, keys: Iterable[str]) -> Any:
    """A JSON object without the keys in which the engines may differ."""
    return {key: inner for key, inner in value.items() if key not in keys} if isinstance(value, dict) else value


def parts(answer: httpx.Response) -> list[Any]:
    """The JSON values of an answer: one, or those of each line or event of a stream."""
    media_type = answer.headers["content-type"].partition(";")[0]
    if media_type == NDJSON:
        return [json.loads(line) for line in answer.text.split("\n") if line]
    if media_type == SSE:
        return [
            json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n") if line.startswith("data: ")
        ]
    return [answer.json()]


async def ask(service: Service, case: Case) -> httpx.Response:
    """One engine's answer."""
    headers = {"Accept": case.accept}
    if case.body is None:
        return await service.client.get(f"/api/llm/{case.path}", headers=headers)
    answer = await service.client.post(f"/api/llm/{case.path}", json=case.body, headers=headers)
    if case.path != "streams":
        return answer
    assert answer.status_code == 201
    return await service.stranger.get(answer.json()["url"], headers=headers)


@dataclass(frozen=True)
class Pair:
    """The service over a real Ollama, and over the embedded engine."""

    ollama: Service
    engine: Service

    async def ask(self, case: Case) -> tuple[httpx.Response, httpx.Response]:
        """What each of them answers."""
        return await ask(self.ollama, case), await ask(self.engine, case)


@pytest_asyncio.fixture(name="pair", scope="module", loop_scope="module")
async def _pair(ollama_url: str) -> AsyncIterator[Pair]:
    with pytest.MonkeyPatch.context() as outside:
        for name in Settings.model_fields:
            outside.delenv(name.upper(), raising=False)
        settings = settings_for(ollama_url), settings_for(embedded_engine="on")
    async with serving(settings[0]) as over_ollama, serving(settings[1]) as over_engine:
        yield Pair(over_ollama, over_engine)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in LONG_RUN else ()) for name in ANSWERED]
)
async def test_both_answer_in_the_same_shape(pair: Pair, name: str) -> None:
    """Over a real Ollama and over the embedded engine every answer has the same keys, types and framing."""
    case = ANSWERED[name]
    theirs, ours = await pair.ask(case)
    assert (theirs.status_code, ours.status_code) == (200, 200), (theirs.text, ours.text)
    assert theirs.headers["content-type"] == ours.headers["content-type"] == case.accept
    *their_first, their_last = parts(theirs)
    *our_first, our_last = parts(ours)
    assert shape(our_first) == shape(their_first)
    may_differ = {**case.may_differ, **NEWER}
    assert shape(without(our_last, may_differ)) == shape(without(their_last, may_differ))
    assert {our_last.get("done_reason"), their_last.get("done_reason")} <= DONE_REASONS


@pytest.mark.parametrize("name", REFUSED)
async def test_both_refuse_in_the_same_shape(pair: Pair, name: str) -> None:
    """What neither can do is refused with the same status and the same keys, streamed or not."""
    theirs, ours = await pair.ask(REFUSED[name])
    assert (theirs.status_code, ours.status_code) == (REFUSED[name].status,) * 2, (theirs.text, ours.text)
    assert shape(ours.json()) == shape(theirs.json())
    assert {"error", "code", "request_id"} <= ours.json().keys()


@pytest.mark.parametrize("name", REFUSED_BY_ENGINE)
async def test_engine_refuses_what_it_cannot_do(pair: Pair, name: str) -> None:
    """The engine says in our shape, with status 400, what it cannot do; Ollama answers as ever."""
    theirs, ours = await pair.ask(REFUSED_BY_ENGINE[name])
    assert (theirs.status_code, ours.status_code) == (200, 400), (theirs.text, ours.text)
    assert ours.json().keys() == {"error", "code", "request_id"}
