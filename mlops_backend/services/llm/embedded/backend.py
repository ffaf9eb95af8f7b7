"""The embedded engine as a backend: one model, and a llama.cpp whose defaults, limits and weak spots are known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from typing import Any, Final

from mlops_backend.aside import aside
from mlops_backend.errors import BackendFailed, BackendRefused, BackendRejected, BadRequest
from mlops_backend.services.llm.asked import Asked
from mlops_backend.services.llm.backends import (
    API,
    MODELS_PATH,
    Answer,
    Body,
    OpenAIBackend,
    Places,
    body_of,
    not_here,
    openai_model,
    raise_for_status,
    whole,
)
from mlops_backend.services.llm.dialects import written
from mlops_backend.services.llm.dialects.openai import (
    COMPLETION_PATH,
    EMBED_PATH,
    RESPONSES_PATH,
    ROUTES,
    Model,
    completed_events,
    completed_response,
    named,
    native_reply,
    native_request,
    usage_apart,
)
from mlops_backend.services.llm.dialects.openai import listing as openai_listing
from mlops_backend.services.llm.dialects.openai import replies as openai_replies
from mlops_backend.services.llm.embedded.engine import Engine
from mlops_backend.services.llm.model_names import canonical
from mlops_backend.services.llm.upstream import Reply, Target, Upstream, gathered
from mlops_backend.telemetry.record import RequestRecord

TOKENIZE_PATH: Final = "/tokenize"
_TOO_LONG_TO_EMBED: Final = b"is too large to process"


class _InputTooLong(BackendRejected):
    def __init__(self) -> None:
        super().__init__(400, "the input length exceeds the context length")


class EmbeddedBackend(OpenAIBackend):
    """The one model of the embedded engine.

    Args:
        url: its address as `upstream` knows it: a host name that stands for the engine's Unix socket.
        engine: started and stopped by others.
        upstream: the shared client.
    """

    def __init__(self, url: str, engine: Engine, upstream: Upstream) -> None:
        # The engine closes a connection behind a stream without saying so: one kept would fail its next request.
        headers = {"Authorization": f"Bearer {engine.api_key}", "Connection": "close"}
        super().__init__(url, upstream, places=Places(Target(url + API, headers)))
        self.address = "embedded engine"
        self._engine = engine
        self._turn = engine.turn
        self._root = Target(url, headers)

    async def version(self) -> str:
        """The engine's package and version, once the engine itself has answered."""
        self._check_ready()
        self._check(await self._upstream.request("GET", self._target, "/health"))
        return f"xllamacpp {self._engine.version}"

    @asynccontextmanager
    async def _native(self, asked: Asked, record: RequestRecord) -> AsyncIterator[Answer]:
        """Its own answer to a body made anew: it reads a hundred fields more than are allowed, and some end it."""
        if asked.path == EMBED_PATH:
            yield whole(await self._embed_natively(await body_of(asked), record))
        elif checked := ROUTES.get(asked.path):
            body = await body_of(asked)
            content = await aside(record.bytes_in, checked, body, await self._named(body))
            async with self._raw(await self._rebuilt(asked, content, record), record) as answer:
                if answer.status != 200:
                    self._check(Reply(answer.status, answer.content_type, await gathered(answer.chunks)))
                yield await _in_openais_words(answer, asked.path, content)
        elif asked.path.startswith(MODELS_PATH + "/"):
            async with super()._native(asked, record) as answer:
                yield answer
        else:
            raise not_here(asked.path)

    def described(self, name: str) -> Mapping[str, Any] | None:
        """Its list says no more than Ollama's would."""
        return None

    @property
    def _target(self) -> Target:
        """Its root: more of its routes are asked than those of OpenAI."""
        return self._root

    def _under(self, path: str) -> str:
        return path

    def _capabilities(self, entry: openai_listing.Entry) -> Iterable[str]:
        return Model("").capabilities

    def _shown_natively(self, entry: openai_listing.Entry) -> Mapping[str, Any]:
        return openai_model(openai_listing.tag(entry, self._known()))

    async def _embed_natively(self, body: Mapping[str, Any], record: RequestRecord) -> dict[str, Any]:
        model = await self._named(body)
        answer = await self._embed(native_request(body), model, record)
        return native_reply(answer, self._engine.model, body.get("encoding_format"))

    async def _rebuilt(self, asked: Asked, content: Mapping[str, Any], record: RequestRecord) -> Asked:
        made = await written(content, record.bytes_in)
        return replace(asked, content=made, headers=())

    async def _vectors(self, content: Mapping[str, Any], record: RequestRecord, *, truncate: bool) -> Sequence[bytes]:
        return [await self._vector(content, text, record, truncate=truncate) for text in content["input"]]

    async def _vector(self, content: Mapping[str, Any], text: str, record: RequestRecord, *, truncate: bool) -> bytes:
        try:
            return await self._alone({**content, "input": [text]}, record)
        except _InputTooLong:
            if not truncate:
                raise
        return await self._alone({**content, "input": [await self._cut(text, record)]}, record)

    async def _alone(self, content: Mapping[str, Any], record: RequestRecord) -> bytes:
        """One text's answer, with no other text in the engine.

        Texts of unequal length that share a batch, of one request or of several, are computed piece by piece, and
        llama.cpp makes the vector of the last piece alone. Its `kv_unified` would keep them whole, but slows chats
        down. A caller that leaves does not end its turn: the engine may still have the text.
        """
        await self._turn.acquire()
        call = asyncio.create_task(self._post(EMBED_PATH, content, record))
        call.add_done_callback(self._end_turn)
        return (await asyncio.shield(call)).body

    def _end_turn(self, call: asyncio.Task[Reply]) -> None:
        self._turn.release()
        if not call.cancelled():
            call.exception()  # taken, as nobody may wait for it any more

    async def _cut(self, text: str, record: RequestRecord) -> list[int]:
        """The text's tokens, as many as the engine can embed: what Ollama does unless `truncate` is false."""
        reply = await self._post(TOKENIZE_PATH, {"content": text, "add_special": True}, record)
        return openai_replies.tokens(reply.body)[: self._engine.batch]

    def _unscaled(self) -> Mapping[str, Any]:
        return {"embd_normalize": -1}

    async def _entry(self, name: str) -> openai_listing.Entry:
        await self._model({"model": name})
        [entry] = await self._entries()
        return entry

    async def _entries(self) -> Sequence[openai_listing.Entry]:
        self._check_ready()
        return await super()._entries()

    def _known(self) -> Mapping[str, Any]:
        return asdict(self._engine.facts)

    async def _named(self, body: Mapping[str, Any]) -> Model:
        if not named(body):
            raise BadRequest("model is required")
        return await self._model(body)

    async def _model(self, body: Body) -> Model:
        self._check_ready()
        name = str(body.get("model") or "")
        if canonical(name) != canonical(self._engine.model):
            raise BackendRejected(404, f"model '{name}' not found")
        return Model(name, served=self._engine.model)

    def _check_ready(self) -> None:
        if not self._engine.ready:
            raise BackendRefused("The embedded engine is not running at present; it is being restarted.")

    def _check(self, reply: Reply, path: str = "") -> None:
        """Raise the engine's own error.

        Its 401 would be this service's fault, never the client's; a text too long to embed is the client's, although
        the engine answers 500.
        """
        if reply.status in (401, 403):
            raise BackendFailed("The embedded engine refused this service's key.")
        if reply.status == 500 and _TOO_LONG_TO_EMBED in reply.body:
            raise _InputTooLong
        raise_for_status(reply)


async def _in_openais_words(answer: Answer, path: str, content: Mapping[str, Any]) -> Answer:
    """An answer of the engine's own, with what OpenAI's have and it leaves out."""
    streamed = content.get("stream")
    if path == COMPLETION_PATH and streamed:
        return answer.changed(usage_apart(answer.chunks, wanted="stream_options" in content))
    if path == RESPONSES_PATH and streamed:
        return answer.changed(completed_events(answer.chunks, content))
    if path == RESPONSES_PATH:
        return answer.changed(_once(completed_response(await gathered(answer.chunks), content)))
    return answer


async def _once(content: bytes) -> AsyncGenerator[bytes, None]:
    yield content
