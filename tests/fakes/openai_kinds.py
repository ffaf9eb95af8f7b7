"""Fakes of servers of the OpenAI API that differ in what they tell of their models, and in where their routes stand."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

from tests.fakes.http11 import Connection, Reply, Request
from tests.fakes.openai_server import MODEL, FakeOpenAI, in_json

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
