"""A backend that speaks the OpenAI API, asked and heard in Ollama's shapes: vLLM, llama.cpp's server and others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence, Sized
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from time import perf_counter_ns
from typing import Any, Final, Literal
from urllib.parse import unquote

from mlops_backend.aside import aside
from mlops_backend.errors import BackendFailed, BackendNonsense, BackendRejected, BadRequest, NotImplementedHere
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.backends.backend import Answer, Body, Operation, passed_on
from mlops_backend.services.llm.backends.native_drop_in import carried
from mlops_backend.services.llm.backends.openai_address import Places
from mlops_backend.services.llm.backends.openai_drop_in import body_of, translated, whole
from mlops_backend.services.llm.backends.openai_requested import (
    check_readable,
    counted,
    has_later_instructions,
    model_of,
    told_apart,
    translated_request,
    with_meaning,
)
from mlops_backend.services.llm.backends.openai_server import OpenAIServer
from mlops_backend.services.llm.backends.refusals import refuses_instructions
from mlops_backend.services.llm.backends.reworded import accepted
from mlops_backend.services.llm.backends.token_counts import conversation, counted_tokens
from mlops_backend.services.llm.backends.ways import TOKENIZE_PATH, can_be_carried
from mlops_backend.services.llm.dialects import dumped, ollama, read_usage
from mlops_backend.services.llm.dialects.native import COUNT_PATH, ROUTES, Joined, LineTranslator
from mlops_backend.services.llm.dialects.openai import Model, StreamTranslator
from mlops_backend.services.llm.dialects.openai import listing as openai_listing
from mlops_backend.services.llm.dialects.openai import replies as openai_replies
from mlops_backend.services.llm.dialects.openai import requests as openai_requests
from mlops_backend.services.llm.model_names import canonical
from mlops_backend.services.llm.upstream import Tap, Upstream
from mlops_backend.telemetry.record import RequestRecord

MODELS_PATH: Final = "/v1/models"
_OK: Final = 200
_FAILED: Final = 500


class OpenAIBackend(OpenAIServer):
    """Any server of the OpenAI API; see `OpenAIServer` for the arguments that are not named here.

    Args:
        url: its address.
        upstream: the shared client.
        capabilities: what the operator says that models can do: a pattern of names -> Ollama's words.
        named: models that the operator says it has.
        places: where its routes may stand.
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
        super().__init__(url, upstream, named, places)
        self._said = capabilities or {}
        self._counts = counts

    async def tags(self) -> list[dict[str, Any]]:
        """Its models as `/api/tags` lists them."""
        return [openai_listing.tag(entry, self._known()) for entry in await self._entries()]

    async def running(self) -> list[dict[str, Any]]:
        """Its models as `/api/ps` lists them: those that it has loaded; all, where it does not say."""
        loaded = filter(openai_listing.is_loaded, await self._entries())
        return [openai_listing.running(entry, self._known()) for entry in loaded]

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
        self, operation: Operation, body: Body, record: RequestRecord, tap: Tap, events: LineTranslator | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Whole NDJSON lines, translated as they arrive; `tap` is opened for them, or what `events` makes of them."""
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
            shape = translator.feed if events is None else Joined(translator, events).feed
            response.open(tap, shape, (lambda: translator.stopped) if told["stops"] else None)
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
        instead = self._other_way(asked.path)
        if instead is not None and await self._goes_another_way(asked):
            async with instead(asked, record) as answer:
                yield answer
            return
        async with self._own(asked, record) as own:
            if own is not None and not own.refuses_instructions:
                yield own
                return
        if instead is None:
            raise NotImplementedHere(f"This backend has no route {asked.path}.")
        async with self._in_place_of(own, instead(asked, record), asked, record) as answer:
            yield answer

    async def _goes_another_way(self, asked: Asked) -> bool:
        """Whether the server's own route is missing, or refuses the instructions that there are in this request."""
        if self._missing.has(asked.path, self._target):
            return True
        return self._refusals.avoids(asked.path, asked.model) and await has_later_instructions(asked)

    @asynccontextmanager
    async def _own(self, asked: Asked, record: RequestRecord) -> AsyncIterator[Answer | None]:
        """What the server's own route answers; `None` where it has none."""
        for _ in range(2):
            async with accepted(lambda wording: self._raw(wording, record), asked) as answer:
                told = await with_meaning(answer, asked)
                self._fails = answer.status >= _FAILED and not (told and told.refuses_instructions)
                if told is not None:
                    yield told
                    return
            if not isinstance(asked.content, Sized) or not await self._models.moved():
                break
        yield None

    @asynccontextmanager
    async def _in_place_of(
        self, own: Answer | None, another: AbstractAsyncContextManager[Answer], asked: Asked, record: RequestRecord
    ) -> AsyncIterator[Answer]:
        """What comes on another way; the refusal of the server's own route, if it has one, where there is none.

        An estimate is a better answer than the refusal to count.
        """
        if own is None:
            self._missing.note(asked.path, self._target)
        async with AsyncExitStack() as stack:
            try:
                answer = await stack.enter_async_context(another)
            except NotImplementedHere:
                if own is None or asked.path == COUNT_PATH:
                    raise
                record.translated, answer = "", own
            if own is not None and answer.status == _OK:
                self._refusals.avoid(asked.path, asked.model)
            yield answer

    def _other_way(self, path: str) -> Callable[[Asked, RequestRecord], AbstractAsyncContextManager[Answer]] | None:
        """What answers a route of `/v1` where the server lacks it, if anything can."""
        if path == COUNT_PATH:
            return self._counted
        return self._carried if path in ROUTES and can_be_carried(path) else None

    def _carried(self, asked: Asked, record: RequestRecord) -> AbstractAsyncContextManager[Answer]:
        return carried(partial(self._as_ollama, record), self.kind, asked, record)

    @asynccontextmanager
    async def _counted(self, asked: Asked, record: RequestRecord) -> AsyncIterator[Answer]:
        """The tokens of a conversation, by the server's tokenizer; raises `NotImplementedHere` where it shows none."""
        body = await body_of(asked)
        model = await self._model(body)
        try:
            said = self._refusals.taken(await aside(record.bytes_in, conversation, body, model))
            count = await counted_tokens(said, model.owner, partial(self._post_at_root, record))
        except (BadRequest, BackendFailed, BackendRejected) as error:
            is_said = isinstance(error, BadRequest | BackendNonsense | BackendRejected)
            if not (is_said or refuses_instructions(_FAILED, error.message)):
                raise
            raise NotImplementedHere(f"This backend does not count tokens: {error.message}") from None
        record.translate(asked.path, TOKENIZE_PATH)
        yield whole({"input_tokens": count})

    def _as_ollama(
        self, record: RequestRecord, asked: Asked, events: LineTranslator | None
    ) -> AbstractAsyncContextManager[Answer]:
        return translated(self, asked, record, events)

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

    def _known(self) -> Mapping[str, Any]:
        """What is known of its models without asking it."""
        return {}

    async def _model(self, body: Body) -> Model:
        """The model that a body names; one that the server calls `Qwen3` is found as `qwen3:latest` too."""
        name = str(body.get("model") or "")
        if not name:
            raise BackendRejected(404, "model '' not found")
        return model_of(name, await self._models.known(name))
