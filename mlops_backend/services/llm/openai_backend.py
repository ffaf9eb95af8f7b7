"""The embedded engine as a backend: it speaks the OpenAI API and is asked and heard in Ollama's shapes."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import asdict
from time import perf_counter_ns
from typing import Any, Final, Literal

from mlops_backend.errors import BackendFailed, BackendRefused, BackendRejected
from mlops_backend.services.llm.backends import Body, Operation, raise_for_status
from mlops_backend.services.llm.dialects import ollama, openai_replies, openai_requests
from mlops_backend.services.llm.dialects.openai_messages import Model
from mlops_backend.services.llm.dialects.openai_stream import StreamTranslator
from mlops_backend.services.llm.embedded import EmbeddedEngine
from mlops_backend.services.llm.routing import canonical
from mlops_backend.services.llm.upstream import Reply, Target, Upstream
from mlops_backend.telemetry.record import RequestRecord

MODELS_PATH: Final = "/v1/models"
TOKENIZE_PATH: Final = "/tokenize"
_TOO_LONG_TO_EMBED: Final = b"is too large to process"


class _InputTooLong(BackendRejected):
    def __init__(self) -> None:
        super().__init__(400, "the input length exceeds the context length")


class EmbeddedBackend:
    """The one model of the embedded engine.

    Args:
        url: its address as `upstream` knows it: a host name that stands for the engine's Unix socket.
        engine: started and stopped by others.
        upstream: the shared client.
    """

    kind: Literal["ollama", "openai"] = "openai"
    address = "embedded engine"

    def __init__(self, url: str, engine: EmbeddedEngine, upstream: Upstream) -> None:
        self._engine = engine
        self._upstream = upstream
        # The engine closes a connection behind a stream without saying so: one kept would fail its next request.
        self._target = Target(url, {"Authorization": f"Bearer {engine.api_key}", "Connection": "close"})

    async def version(self) -> str:
        """The engine's package and version, once the engine itself has answered."""
        self._check_ready()
        _check(await self._upstream.request("GET", self._target, "/health"))
        return f"xllamacpp {self._engine.version}"

    async def tags(self) -> list[dict[str, Any]]:
        """Its model as `/api/tags` lists one."""
        self._check_ready()
        reply = await self._upstream.request("GET", self._target, MODELS_PATH)
        _check(reply)
        return openai_replies.tags(reply.body, asdict(self._engine.facts))

    async def call(self, operation: Operation, body: Body, record: RequestRecord) -> bytes:
        """One whole answer, translated; a request that only loads the model is answered without the engine."""
        model = self._model(body)
        if operation == "embed":
            answer = await self._embed(body, model, record)
        elif reason := openai_requests.load_reason(operation, body):
            answer = openai_replies.loaded_reply(operation, model.name, reason)
        else:
            path, content = _request(operation, {**body, "stream": False}, model)
            top = openai_requests.top_logprobs(body)
            started = perf_counter_ns()
            reply = await self._post(path, content, record)
            answer = openai_replies.whole_reply(operation, reply.body, model.name, perf_counter_ns() - started, top)
        ollama.read_usage(answer, record)
        return ollama.dump_line(answer)[:-1]

    async def stream(self, operation: Operation, body: Body, record: RequestRecord) -> AsyncGenerator[bytes, None]:
        """Whole NDJSON lines, translated as they arrive."""
        model = self._model(body)
        if operation == "embed":
            yield ollama.dump_line(await self._embed(body, model, record))
            return
        if reason := openai_requests.load_reason(operation, body):
            yield ollama.dump_line(openai_replies.loaded_reply(operation, model.name, reason))
            return
        path, content = _request(operation, {**body, "stream": True}, model)
        translator = StreamTranslator(operation, model.name, openai_requests.top_logprobs(body))
        async with self._upstream.stream("POST", self._target, path, record, _dump(content)) as response:
            if response.status != 200:
                _check(Reply(response.status, response.content_type, await response.read()))
            async with aclosing(response.chunks()) as chunks:
                async for chunk in chunks:
                    if lines := translator.feed(chunk):
                        yield lines
                translator.feed(b"")

    async def _embed(self, body: Body, model: Model, record: RequestRecord) -> dict[str, Any]:
        dimensions = openai_requests.dimensions(body)
        content = openai_requests.embed_request(body, model)
        if not content["input"]:
            return {"model": model.name, "embeddings": []}
        started = perf_counter_ns()
        try:
            reply = await self._post(openai_requests.EMBED_PATH, content, record)
        except _InputTooLong:
            if body.get("truncate") is False:
                raise
            content["input"] = [await self._cut(text, record) for text in content["input"]]
            reply = await self._post(openai_requests.EMBED_PATH, content, record)
        return openai_replies.embed_reply(reply.body, model.name, perf_counter_ns() - started, dimensions)

    async def _cut(self, text: str, record: RequestRecord) -> list[int]:
        """The text's tokens, as many as the engine can embed: what Ollama does unless `truncate` is false."""
        reply = await self._post(TOKENIZE_PATH, {"content": text, "add_special": True}, record)
        return openai_replies.tokens(reply.body)[: self._engine.batch]

    async def _post(self, path: str, content: Mapping[str, Any], record: RequestRecord) -> Reply:
        reply = await self._upstream.request("POST", self._target, path, record, _dump(content))
        _check(reply)
        return reply

    def _model(self, body: Body) -> Model:
        self._check_ready()
        name = str(body.get("model") or "")
        if canonical(name) != canonical(self._engine.model):
            raise BackendRejected(404, f"model '{name}' not found")
        return Model(name)

    def _check_ready(self) -> None:
        if not self._engine.ready:
            raise BackendRefused("The embedded engine is not running at present; it is being restarted.")


def _request(operation: Literal["generate", "chat"], body: Body, model: Model) -> tuple[str, dict[str, Any]]:
    if operation == "generate":
        return openai_requests.generate_request(body, model)
    return openai_requests.CHAT_PATH, openai_requests.chat_request(body, model)


def _check(reply: Reply) -> None:
    """Raise the engine's own error.

    Its 401 would be this service's fault, never the client's; a text too long to embed is the client's, although the
    engine answers 500.
    """
    if reply.status in (401, 403):
        raise BackendFailed("The embedded engine refused this service's key.")
    if reply.status == 500 and _TOO_LONG_TO_EMBED in reply.body:
        raise _InputTooLong
    raise_for_status(reply)


def _dump(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
