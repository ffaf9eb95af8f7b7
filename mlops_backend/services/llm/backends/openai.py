"""A backend that speaks the OpenAI API, asked and heard in Ollama's shapes: vLLM, llama.cpp's server and others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence, Sized
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from time import perf_counter_ns
from typing import Any, Final, Literal
from urllib.parse import unquote

from mlops_backend.aside import aside
from mlops_backend.errors import BackendRejected, NotImplementedHere
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.backends.backend import Answer, Body, Operation, passed_on
from mlops_backend.services.llm.backends.openai_address import API, Places, openai_places
from mlops_backend.services.llm.backends.openai_drop_in import translated, whole
from mlops_backend.services.llm.backends.openai_models import ServedModels
from mlops_backend.services.llm.backends.openai_requested import (
    check_readable,
    counted,
    model_of,
    told_apart,
    translated_request,
    with_meaning,
)
from mlops_backend.services.llm.backends.refusals import Refusals, without
from mlops_backend.services.llm.backends.reworded import accepted
from mlops_backend.services.llm.backends.statuses import ListFails, is_missing_route, raise_for_status, words_of
from mlops_backend.services.llm.dialects import dumped, ollama, read_usage, written
from mlops_backend.services.llm.dialects.openai import Model, StreamTranslator
from mlops_backend.services.llm.dialects.openai import listing as openai_listing
from mlops_backend.services.llm.dialects.openai import replies as openai_replies
from mlops_backend.services.llm.dialects.openai import requests as openai_requests
from mlops_backend.services.llm.model_names import canonical
from mlops_backend.services.llm.upstream import Reply, Tap, Target, Upstream, UpstreamResponse
from mlops_backend.telemetry.logging import mask_url
from mlops_backend.telemetry.record import RequestRecord

MODELS_PATH: Final = "/v1/models"
_TRIES: Final = 4


class OpenAIBackend:
    """Any server of the OpenAI API.

    Args:
        url: its address, with or without `/v1` or another version at its end; `http://:KEY@host` holds the key that it
            wants.
        upstream: the shared client.
        capabilities: what the operator says that models can do: a pattern of names -> Ollama's words.
        named: models that the operator says it has, listed there or not.
        places: where its routes may stand, where that does not follow from the address.
        counts: whether the tokens that it tells are to be believed.
    """

    kind: Literal["ollama", "openai"] = "openai"

    def __init__(
        self,
        url: str,
        upstream: Upstream,
        capabilities: Mapping[str, frozenset[str]] | None = None,
        named: Sequence[str] = (),
        places: Places | None = None,
        *,
        counts: bool = True,
    ) -> None:
        self.address = mask_url(url)
        self._upstream = upstream
        self._places = places or openai_places(url)
        self._models = ServedModels(self._places, upstream, named)
        self._refusals = Refusals()
        self._said = capabilities or {}
        self._counts = counts
        self._fails = False

    @property
    def note(self) -> str:
        """Why it does not tell its models, when it was last asked."""
        return self._models.note

    @property
    def _target(self) -> Target:
        """Where its routes stand, as far as is known."""
        return self._places.current

    async def version(self) -> str:
        """The API's name, once the server has answered: the API has no version to ask for.

        A server whose list fails may still generate: it is there, unless its last generation failed too.
        """
        with suppress(ListFails):
            await self._entries()
        if self._models.fails and self._fails:
            raise ListFails(self.note)
        return "openai"

    async def tags(self) -> list[dict[str, Any]]:
        """Its models as `/api/tags` lists them."""
        return [openai_listing.tag(entry, self._known()) for entry in await self._entries()]

    async def running(self) -> list[dict[str, Any]]:
        """Its models as `/api/ps` lists them: those that it has loaded; all, where it does not say."""
        loaded = filter(openai_listing.is_loaded, await self._entries())
        return [openai_listing.running(entry, self._known()) for entry in loaded]

    def aliases(self) -> frozenset[str]:
        """Further names of its models, when it was last asked."""
        return self._models.aliases()

    def described(self, name: str) -> Mapping[str, Any] | None:
        """A model as the server's own list describes it, when it was last asked."""
        return self._models.last(name)

    async def show(self, name: str) -> dict[str, Any]:
        """One model as `/api/show` describes it."""
        entry = await self._entry(name)
        return openai_listing.shown(entry, self._known(), self._capabilities(entry))

    async def call(self, operation: Operation, body: Body, record: RequestRecord) -> bytes:
        """One whole answer, translated; a request that only loads the model is answered without the server."""
        model = await self._model(body)
        if operation == "embed":
            answer = await self._embed(body, model, record)
        elif reason := openai_requests.load_reason(operation, body):
            answer = openai_replies.loaded_reply(operation, model.name, reason)
        else:
            asked = {**body, "stream": False}
            path, content = await aside(record.bytes_in, translated_request, operation, asked, model)
            top = openai_requests.top_logprobs(body)
            started = perf_counter_ns()
            reply = await self._post(path, content, record)
            total = perf_counter_ns() - started
            told = told_apart(body, model, record)
            read = partial(openai_replies.whole_reply, operation, reply.body, model.name, total, top, **told)
            answer = await aside(len(reply.body), read)
        read_usage(answer, record)
        return dumped(answer)

    async def stream(
        self, operation: Operation, body: Body, record: RequestRecord, tap: Tap
    ) -> AsyncGenerator[bytes, None]:
        """Whole NDJSON lines, translated as they arrive; `tap` is opened for them."""
        model = await self._model(body)
        if operation == "embed":
            yield ollama.dump_line(await self._embed(body, model, record))
            return
        if reason := openai_requests.load_reason(operation, body):
            yield ollama.dump_line(openai_replies.loaded_reply(operation, model.name, reason))
            return
        asked = {**body, "stream": True}
        path, content = await aside(record.bytes_in, translated_request, operation, asked, model)
        top, told = openai_requests.top_logprobs(body), told_apart(body, model, record)
        translator = StreamTranslator(operation, model.name, top, **told)
        async with self._answer(path, content, record) as response, aclosing(response.chunks()) as chunks:
            response.open(tap, translator.feed, (lambda: translator.stopped) if told["stops"] else None)
            async for chunk in chunks:
                yield translator.feed(chunk)  # nothing, often: whoever waits for the server sees that it is at work
                if translator.stopped:
                    return
            if lines := translator.end():
                yield lines

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
        record.doubted = not self._counts
        return self._native(asked, record) if asked.path.startswith("/v1/") else translated(self, asked, record)

    @asynccontextmanager
    async def _native(self, asked: Asked, record: RequestRecord) -> AsyncIterator[Answer]:
        if asked.path.startswith(MODELS_PATH + "/"):
            yield whole(self._shown_natively(await self._entry(unquote(asked.path.removeprefix(MODELS_PATH + "/")))))
            return
        check_readable(asked)
        asked = replace(asked, headers=(*asked.headers, *self._target.headers.items()))
        for _ in range(2):
            async with accepted(lambda wording: self._raw(wording, record), asked) as answer:
                self._fails = answer.status >= 500
                if (told := await with_meaning(answer)) is not None:
                    yield told
                    return
            if not isinstance(asked.content, Sized) or not await self._models.moved():
                break
        raise NotImplementedHere(f"This backend has no route {asked.path}.")

    def _raw(self, asked: Asked, record: RequestRecord) -> AbstractAsyncContextManager[Answer]:
        return passed_on(self._upstream, self._target, replace(asked, path=self._under(asked.path)), record)

    def _shown_natively(self, entry: openai_listing.Entry) -> Mapping[str, Any]:
        """A model as `/v1/models/{id}` describes it; few servers have that route."""
        return entry

    def _capabilities(self, entry: openai_listing.Entry) -> Iterable[str]:
        """What a model can do: as the operator says, else as its server tells, less what it lately refused."""
        name = openai_listing.name_of(entry)
        for pattern, said in self._said.items():
            if fnmatchcase(canonical(name), canonical(pattern)):
                return said
        return openai_listing.capabilities(entry) - self._refusals.lacking(name)

    async def _embed(self, body: Body, model: Model, record: RequestRecord) -> dict[str, Any]:
        dimensions = openai_requests.dimensions(body)
        content = openai_requests.embed_request(body, model)
        if not content["input"]:
            return {"model": model.name, "embeddings": []}
        started = perf_counter_ns()
        answers = await self._vectors(content, record, truncate=body.get("truncate") is not False)
        total = perf_counter_ns() - started
        return openai_replies.embed_reply(answers, model.name, total, dimensions, **counted(record))

    async def _vectors(self, content: Mapping[str, Any], record: RequestRecord, *, truncate: bool) -> Sequence[bytes]:
        """What the server answers: one body for all inputs, or several, each for the next of them."""
        return [(await self._post(openai_requests.EMBED_PATH, content, record)).body]

    def _unscaled(self) -> Mapping[str, Any]:
        """The field that asks for a vector as the model made it, where there is one."""
        return {}

    async def _post(self, path: str, content: Mapping[str, Any], record: RequestRecord) -> Reply:
        async with self._answer(path, content, record) as response:
            return await response.whole()

    @asynccontextmanager
    async def _answer(
        self, path: str, content: Mapping[str, Any], record: RequestRecord
    ) -> AsyncIterator[UpstreamResponse]:
        """The server's answer to a request made here; asked again without ornaments that it refuses.

        Raises:
            AppError: its own error.
        """
        content, left_out = self._refusals.taken(content), set[str]()
        for _ in range(_TRIES):
            body = await written(content, record.bytes_in)
            async with self._upstream.stream("POST", self._target, self._under(path), record, body) as response:
                self._fails = response.status >= 500
                if response.status == 200:
                    self._refusals.remember(left_out)
                    yield response
                    return
                reply = await response.whole()
            if is_missing_route(reply.status, reply.body) and await self._models.moved():
                continue
            words = words_of(reply.body)
            self._refusals.learn(str(content.get("model")), words)
            lighter = set(self._refusals.lighter(content, reply.status, words)) - left_out
            if not lighter:
                break
            left_out |= lighter
            content = without(content, lighter)
        self._check(reply, path)
        raise AssertionError("a status that is not 200 is an error")

    async def _entry(self, name: str) -> openai_listing.Entry:
        return await self._models.entry(name)

    async def _entries(self) -> Sequence[openai_listing.Entry]:
        return await self._models.entries()

    def _under(self, path: str) -> str:
        """A path of `/v1` beneath the address, which has the version already."""
        return path.removeprefix(API)

    def _known(self) -> Mapping[str, Any]:
        """What is known of its models without asking it."""
        return {}

    async def _model(self, body: Body) -> Model:
        """The model that a body names; one that the server calls `Qwen3` is found as `qwen3:latest` too."""
        name = str(body.get("model") or "")
        if not name:
            raise BackendRejected(404, "model '' not found")
        return model_of(name, await self._models.known(name))

    def _check(self, reply: Reply, path: str = "") -> None:
        """Raise the server's own error."""
        raise_for_status(reply, path)
