"""A fake Ollama on a real socket, which misbehaves on command and remembers what it was asked.

    async with FakeOllama(mode=Mode.SLOW_TOKENS) as fake:
        ...  # point the service at fake.url

Every request with an `Origin` header gets Ollama's 403 with an empty body, in every mode.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tests.fakes.http11 import Connection, Reply, Request
from tests.fakes.ollama_modes import (
    DEFAULT_WORDS,
    MODE_WORDS,
    Mode,
    Script,
    play_opening,
    play_stream,
    play_whole,
    scripted_lines,
)
from tests.fakes.ollama_requests import (
    INFERENCE,
    PROBES,
    Refused,
    body_of,
    check_model,
    check_route,
    generation_for,
    inputs_of,
    load_reason,
)
from tests.fakes.ollama_shapes import (
    TEXT_TYPE,
    JsonObject,
    json_reply,
    loaded_models,
    metrics,
    shown,
    tags,
    vector,
)
from tests.fakes.server import Recorded, RecordingServer

__all__ = ["DEFAULT_WORDS", "FakeOllama", "Mode", "Recorded"]

VECTOR_SIZE = 8
MAX_VECTOR_SIZE = 4096
EMBED_FIGURES = ("total_duration", "load_duration", "prompt_eval_count")


@dataclass(kw_only=True, eq=False)
class FakeOllama(Script, RecordingServer):
    """The server; `active` and `max_active` count inference requests, not probes."""

    def hold(self) -> None:
        """Let no line of a stream, and no whole answer, leave until it is released."""
        self.gate.hold()

    def release(self, count: int | None = None) -> None:
        """Let `count` more lines leave (headers go with the first), or everything from now on."""
        self.gate.release(count)

    def counts(self, request: Request) -> bool:
        """Count inference only."""
        return request.path in INFERENCE

    async def answer(self, connection: Connection, request: Request) -> None:
        """Answer as Ollama does, or as the mode says."""
        try:
            check_route(request)
            answer = self._infer if request.path in INFERENCE else self._look_up
            await answer(connection, request)
        except Refused as refused:
            await connection.send(refused.reply, with_body=request.method != "HEAD")

    async def _look_up(self, connection: Connection, request: Request) -> None:
        if request.path in PROBES and await play_opening(self.probe_mode, self, connection):
            return
        if request.path == "/api/show":
            check_model(request.path, body_of(request), self.models)
        replies: dict[str, Callable[[], Reply]] = {
            "/": lambda: Reply(200, f"{TEXT_TYPE}; charset=utf-8", b"Ollama is running"),
            "/api/version": lambda: json_reply({"version": self.version}),
            "/api/tags": lambda: json_reply(tags(self.models)),
            "/api/ps": lambda: json_reply(loaded_models(self.models)),
            "/api/show": lambda: json_reply(shown()),
        }
        await connection.send(replies[request.path](), with_body=request.method != "HEAD")

    async def _infer(self, connection: Connection, request: Request) -> None:
        mode, body = self.mode, body_of(request)
        if await play_opening(mode, self, connection):
            return
        known = [] if mode is Mode.NOT_FOUND_MODEL else self.models
        body["model"] = check_model(request.path, body, known)
        infer = self._generate if request.path in ("/api/generate", "/api/chat") else self._embed
        await infer(connection, request.path, body, mode)

    async def _generate(self, connection: Connection, path: str, body: JsonObject, mode: Mode) -> None:
        generation = generation_for(path, body, MODE_WORDS.get(mode, self.words), self.tool_calls)
        if reason := load_reason(path, body):
            await connection.send(json_reply(generation.loaded(reason)))
        elif body.get("stream", True):
            await play_stream(mode, self, connection, scripted_lines(generation, mode, self.trouble_after))
        else:
            whole = generation.line("".join(generation.words)) if mode is Mode.NO_DONE else generation.whole()
            await play_whole(mode, self, connection, json_reply(whole))

    async def _embed(self, connection: Connection, path: str, body: JsonObject, mode: Mode) -> None:
        size = min(max(body.get("dimensions") or VECTOR_SIZE, 1), MAX_VECTOR_SIZE)
        if path == "/api/embeddings":
            prompt = body.get("prompt", "")
            reply: JsonObject = {"embedding": vector(prompt, size) if prompt else []}
        else:
            texts = inputs_of(body)
            reply = {"model": body["model"], "embeddings": [vector(text, size) for text in texts]}
            figures = metrics(sum(len(text.split()) for text in texts), 0) if texts else {}
            reply |= {name: figures[name] for name in EMBED_FIGURES if name in figures}
        await play_whole(mode, self, connection, json_reply(reply))
