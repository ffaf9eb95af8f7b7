"""Fakes of servers of the OpenAI API that differ in what they tell of their models, and in where their routes stand."""

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import Any

from tests.fakes.gate import Gate
from tests.fakes.http11 import Connection, Reply, Request, head_bytes, reply_headers
from tests.fakes.openai_server import MODEL, FakeOpenAI, in_json

CHAT = "/v1/chat/completions"
TOKENIZE = "/tokenize"
_META = {"n_ctx": 512, "n_ctx_train": 4096, "size": 229120}
_NOT_FOUND = {"detail": "Not Found"}


@dataclass(kw_only=True, eq=False)
class PlacedOpenAI(FakeOpenAI):
    """A server whose routes stand behind `place`, and nowhere else, as with infinity's `--url-prefix`.

    Without `lists` it has none, as LitServe; `root_page` is what it shows for any path outside of `/v1`.
    """

    place: str = "/v1"
    lists: bool = True
    root_page: str = ""

    async def answer(self, connection: Connection, request: Request) -> None:
        """Answer one request."""
        known = ("/chat/completions", "/completions", "/embeddings", *(["/models"] if self.lists else []))
        path = request.path.removeprefix(self.place)
        if request.path.startswith(self.place) and path in known:
            await super().answer(connection, replace(request, path="/v1" + path))
        elif self.root_page and not request.path.startswith("/v1"):
            await connection.send(Reply(200, "text/html", self.root_page.encode()))
        else:
            await connection.send(in_json(_NOT_FOUND, 404))


@dataclass(kw_only=True, eq=False)
class RouterOpenAI(FakeOpenAI):
    """llama.cpp's server in router mode: two models, one loaded, with a second name; none was started to embed."""

    fails_to_list: bool = False
    models: list[dict[str, Any]] = field(
        default_factory=lambda: [
            _routed(
                "big",
                "loaded",
                aliases=["gpt-x", "org/gpt-y"],
                meta={"n_ctx": 512, "n_ctx_train": 4096, "size": 229120},
            ),
            _routed("small", "unloaded", inputs=["text", "image"]),
        ]
    )

    async def answer(self, connection: Connection, request: Request) -> None:
        """Answer one request."""
        if self.fails_to_list and request.method == "GET":
            await connection.send(_refusal(500, "it fell over", "server_error"))
            return
        if request.method == "POST":
            name = json.loads(request.body).get("model")
            if not any(name in (model["id"], *model["aliases"]) for model in self.models):
                await connection.send(_refusal(400, f"model '{name}' not found", "invalid_request_error"))
                return
            if request.path == "/v1/embeddings":
                words = "This server does not support embeddings. Start it with `--embeddings`"
                await connection.send(_refusal(501, words, "not_supported_error"))
                return
        await super().answer(connection, request)


@dataclass(kw_only=True, eq=False)
class StrictOpenAI(FakeOpenAI):
    """A server with routes of messages and responses, whose model's template takes instructions at the beginning alone.

    `status` and `words` are how it refuses others, on each of `strict`; `lacks` are routes that it does not have.
    `native` is what its own routes answer, with `native_status`. `gate` holds chats back; one that `hangs` sends the
    beginning of its refusal.
    """

    status: int = 500
    words: str = "Jinja Exception: System message must be at the beginning."
    strict: tuple[str, ...] = ("/v1/messages", "/v1/messages/count_tokens", "/v1/responses", CHAT, TOKENIZE)
    lacks: tuple[str, ...] = ()
    native: dict[str, Any] = field(default_factory=lambda: {"input_tokens": 5, "said": "natively"})
    native_status: int = 200
    gate: Gate = field(default_factory=Gate)
    hangs: bool = False

    async def answer(self, connection: Connection, request: Request) -> None:
        """Answer one request."""
        if request.method != "POST":
            await super().answer(connection, request)
            return
        if request.path == CHAT:
            await self.gate.step()
        told = json.loads(request.body)
        if request.path in self.lacks:
            await connection.send(in_json(_NOT_FOUND, 404))
        elif request.path in self.strict and _instructs_later(told):
            await self._refuse(connection)
        elif request.path == TOKENIZE:
            await connection.send(in_json({"count": 17}))
        elif request.path.startswith(("/v1/messages", "/v1/responses")):
            await connection.send(in_json(self.native, self.native_status))
        else:
            await super().answer(connection, request)

    async def _refuse(self, connection: Connection) -> None:
        refusal = _refusal(self.status, self.words, "server_error")
        if self.hangs:
            await connection.send_part(head_bytes(self.status, reply_headers(refusal)) + refusal.body[:9])
            await asyncio.Event().wait()
        await connection.send(refusal)


def _instructs_later(told: dict[str, Any]) -> bool:
    turns = [turn for turn in told.get("messages") or told.get("input") or () if isinstance(turn, dict)]
    begins = [{"role": "system"}] if told.get("system") or told.get("instructions") else []
    return any(turn.get("role") in ("system", "developer") for turn in [*begins, *turns][1:])


def _routed(name: str, state: str, *, inputs: list[str] | None = None, **more: Any) -> dict[str, Any]:
    """An entry of the router's list."""
    return {
        "id": name,
        "aliases": [],
        "tags": [],
        "object": "model",
        "owned_by": "llamacpp",
        "created": MODEL["created"],
        "status": {"value": state, "args": ["llama-server"]},
        "architecture": {"input_modalities": inputs or ["text"], "output_modalities": ["text"]},
        "context_length": 4096,
        **more,
    }


def _refusal(status: int, words: str, kind: str) -> Reply:
    return in_json({"error": {"code": status, "message": words, "type": kind}}, status)
