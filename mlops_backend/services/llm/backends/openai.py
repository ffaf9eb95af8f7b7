"""A backend that speaks the OpenAI API, asked and heard in Ollama's shapes: vLLM, llama.cpp's server and others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from dataclasses import replace
from time import perf_counter_ns
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

from mlops_backend.errors import AppError, BackendRejected, InvalidJSON
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.backends.backend import (
    Answer,
    Body,
    OllamaBackend,
    Operation,
    raise_for_status,
    target_of,
)
from mlops_backend.services.llm.backends.openai_drop_in import translated, whole
from mlops_backend.services.llm.dialects import dumped, ollama, read_usage, shortened
from mlops_backend.services.llm.dialects.openai import Model, StreamTranslator
from mlops_backend.services.llm.dialects.openai import listing as openai_listing
from mlops_backend.services.llm.dialects.openai import replies as openai_replies
from mlops_backend.services.llm.dialects.openai import requests as openai_requests
from mlops_backend.services.llm.model_names import canonical
from mlops_backend.services.llm.upstream import Reply, Target, Upstream
from mlops_backend.telemetry.logging import mask_url
from mlops_backend.telemetry.record import RequestRecord

MODELS_PATH: Final = "/v1/models"
# What an unknown model can do is for its server to say, in its refusal.
_FORMS: Final = "/v1/audio/"
_ALL: Final = frozenset({"completion", "insert", "thinking", "tools", "vision"})


class OpenAIBackend:
    """Any server of the OpenAI API.

    Args:
        url: its address, with or without `/v1`; `http://:KEY@host` holds the key that it wants.
        upstream: the shared client.
    """

    kind: Literal["ollama", "openai"] = "openai"

    def __init__(self, url: str, upstream: Upstream) -> None:
        self.address = mask_url(url)
        self._upstream = upstream
        self._target = openai_target(url)
        self._raw = OllamaBackend(self._target.url, upstream)
        self._served: dict[str, str] | None = None

    async def version(self) -> str:
        """The API's name, once the server has answered: the API has no version to ask for."""
        await self._entries()
        return "openai"

    async def tags(self) -> list[dict[str, Any]]:
        """Its models as `/api/tags` lists them."""
        return [openai_listing.tag(entry, self._known()) for entry in await self._entries()]

    async def running(self) -> list[dict[str, Any]]:
        """Its models as `/api/ps` lists them: all of them are loaded, as far as anybody can tell."""
        return [openai_listing.running(entry, self._known()) for entry in await self._entries()]

    async def show(self, name: str) -> dict[str, Any]:
        """One model as `/api/show` describes it."""
        model = await self._model({"model": name})
        return openai_listing.shown(await self._entry(name), self._known(), model.capabilities)

    async def call(self, operation: Operation, body: Body, record: RequestRecord) -> bytes:
        """One whole answer, translated; a request that only loads the model is answered without the server."""
        model = await self._model(body)
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
        read_usage(answer, record)
        return dumped(answer)

    async def stream(self, operation: Operation, body: Body, record: RequestRecord) -> AsyncGenerator[bytes, None]:
        """Whole NDJSON lines, translated as they arrive."""
        model = await self._model(body)
        if operation == "embed":
            yield ollama.dump_line(await self._embed(body, model, record))
            return
        if reason := openai_requests.load_reason(operation, body):
            yield ollama.dump_line(openai_replies.loaded_reply(operation, model.name, reason))
            return
        path, content = _request(operation, {**body, "stream": True}, model)
        translator = StreamTranslator(operation, model.name, openai_requests.top_logprobs(body))
        async with self._upstream.stream("POST", self._target, path, record, dumped(content)) as response:
            if response.status != 200:
                self._check(Reply(response.status, response.content_type, await response.read()))
            async with aclosing(response.chunks()) as chunks:
                async for chunk in chunks:
                    if lines := translator.feed(chunk):
                        yield lines
                translator.feed(b"")

    async def embedding(self, body: Body, record: RequestRecord) -> dict[str, Any]:
        """One text's vector as `/api/embeddings` gives it."""
        model = await self._model(body)
        content = openai_requests.embed_request({"input": body.get("prompt")}, model)
        if not content["input"]:
            return {"embedding": []}
        [answer] = await self._vectors({**content, **self._unscaled()}, record, truncate=True)
        return openai_replies.embedding_reply(answer)

    def forward(self, asked: Asked, record: RequestRecord) -> AbstractAsyncContextManager[Answer]:
        """Routes of `/v1` in its own words, those of Ollama's API by translation.

        Raises, when entered:
            NotImplementedHere: a route that has no meaning here.
            AppError: whatever kept the answer away.
        """
        return self._native(asked, record) if asked.path.startswith("/v1/") else translated(self, asked, record)

    @asynccontextmanager
    async def _native(self, asked: Asked, record: RequestRecord) -> AsyncIterator[Answer]:
        if asked.path.startswith(MODELS_PATH + "/"):
            yield whole(self._described(await self._entry(unquote(asked.path.removeprefix(MODELS_PATH + "/")))))
            return
        _check_readable(asked)
        headers = (*asked.headers, *self._target.headers.items())
        async with self._raw.forward(replace(asked, headers=headers), record) as answer:
            yield answer

    def _described(self, entry: openai_listing.Entry) -> Mapping[str, Any]:
        """A model as `/v1/models/{id}` describes it; few servers have that route."""
        return entry

    async def _embed(self, body: Body, model: Model, record: RequestRecord) -> dict[str, Any]:
        dimensions = openai_requests.dimensions(body)
        content = openai_requests.embed_request(body, model)
        if not content["input"]:
            return {"model": model.name, "embeddings": []}
        started = perf_counter_ns()
        answers = await self._vectors(content, record, truncate=body.get("truncate") is not False)
        return openai_replies.embed_reply(answers, model.name, perf_counter_ns() - started, dimensions)

    async def _vectors(self, content: Mapping[str, Any], record: RequestRecord, *, truncate: bool) -> Sequence[bytes]:
        """What the server answers: one body for all inputs, or several, each for the next of them."""
        return [(await self._post(openai_requests.EMBED_PATH, content, record)).body]

    def _unscaled(self) -> Mapping[str, Any]:
        """The field that asks for a vector as the model made it, where there is one."""
        return {}

    async def _post(self, path: str, content: Mapping[str, Any], record: RequestRecord) -> Reply:
        reply = await self._upstream.request("POST", self._target, path, record, dumped(content))
        self._check(reply)
        return reply

    async def _entry(self, name: str) -> openai_listing.Entry:
        for entry in await self._entries():
            if canonical(openai_listing.name_of(entry)) == canonical(name):
                return entry
        raise BackendRejected(404, f"model '{name}' not found")

    async def _entries(self) -> Sequence[openai_listing.Entry]:
        reply = await self._upstream.request("GET", self._target, MODELS_PATH)
        self._check(reply)
        found = openai_listing.entries(reply.body)
        self._served = {canonical(name): name for name in map(openai_listing.name_of, found)}
        return found

    def _known(self) -> Mapping[str, Any]:
        """What is known of its models without asking it."""
        return {}

    async def _model(self, body: Body) -> Model:
        """The model that a body names; one that the server calls `Qwen3` is found as `qwen3:latest` too."""
        name = str(body.get("model") or "")
        if not name:
            raise BackendRejected(404, "model '' not found")
        if self._served is None:
            self._served = {}
            with suppress(AppError):  # it will be told of the request itself
                await self._entries()
        return Model(name, _ALL, self._served.get(canonical(name), ""), llama_cpp=False)

    def _check(self, reply: Reply) -> None:
        """Raise the server's own error."""
        raise_for_status(reply)


def _check_readable(asked: Asked) -> None:
    """Let nothing pass that was not read here: unlike Go, a server in Python takes UTF-16 and a byte order mark.

    Raises:
        InvalidJSON: a body that is no JSON object, where one is due.
    """
    form = asked.path.startswith(_FORMS)
    if isinstance(asked.content, bytes) and not form and shortened(asked.content).members is None:
        raise InvalidJSON("The body is not a JSON object.")


def openai_target(url: str) -> Target:
    """Split an address from `/v1` and from its credentials: a password without a user is a key for `Bearer`."""
    target, parts = target_of(url), urlsplit(url)
    headers = dict(target.headers)
    if parts.password and not parts.username:
        headers["Authorization"] = f"Bearer {unquote(parts.password)}"
    return Target(target.url.rstrip("/").removesuffix("/v1").rstrip("/"), headers)


def _request(operation: Literal["generate", "chat"], body: Body, model: Model) -> tuple[str, dict[str, Any]]:
    if operation == "generate":
        return openai_requests.generate_request(body, model)
    return openai_requests.CHAT_PATH, openai_requests.chat_request(body, model)
