"""A fake server of the OpenAI API on a real socket, as vLLM and others are.

async with FakeOpenAI(key="secret") as fake:
    ...  # point the service at fake.url
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.http11 import Connection, Reply, Request, head_bytes
from tests.fakes.server import RecordingServer

USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
MODEL = {"id": "Qwen/Qwen3-8B", "object": "model", "created": 1700000000, "owned_by": "vllm", "max_model_len": 40960}
VECTOR = [3.0, 4.0]
_STREAM_HEAD = {"Content-Type": "text/event-stream; charset=utf-8", "Transfer-Encoding": "chunked"}


@dataclass(kw_only=True, eq=False)
class FakeOpenAI(RecordingServer):
    """The server.

    `key` is the one it wants, `base` what stands before `/v1`. `deltas` are the pieces of a streamed answer, `message`
    is a whole one; `refusal`, a status and a body, is all it answers to a POST. A stream is cut before its end when
    `cut` is set; `pause` seconds lie between its events.
    """

    key: str = ""
    base: str = ""
    models: list[dict[str, Any]] = field(default_factory=lambda: [MODEL])
    deltas: list[dict[str, Any]] = field(default_factory=lambda: [{"content": "Hello"}, {"content": " there"}])
    message: dict[str, Any] = field(default_factory=lambda: {"content": "Hello there"})
    logprobs: dict[str, Any] | None = None
    finish_reason: str = "stop"
    refusal: tuple[int, dict[str, Any]] | None = None
    cut: bool = False
    pause: float = 0.0

    def counts(self, request: Request) -> bool:
        """Count what computes."""
        return request.method == "POST"

    async def answer(self, connection: Connection, request: Request) -> None:
        """Answer one request."""
        if self.key and request.header("authorization") != f"Bearer {self.key}":
            await connection.send(in_json({"error": {"message": "no such key"}}, 401))
        elif request.method == "POST" and self.refusal is not None:
            await connection.send(in_json(self.refusal[1], self.refusal[0]))
        elif request.method == "POST" and json.loads(request.body).get("stream"):
            await self._stream(connection, request)
        else:
            await connection.send(self._whole(request))

    def _whole(self, request: Request) -> Reply:
        match request.path.removeprefix(self.base):
            case "/v1/models":
                return in_json({"object": "list", "data": self.models})
            case "/v1/chat/completions":
                return in_json(self._completed({"message": {"role": "assistant", **self.message}}))
            case "/v1/completions":
                return in_json(self._completed({"text": self.message["content"]}))
            case "/v1/embeddings":
                texts = json.loads(request.body)["input"]
                data = [{"object": "embedding", "index": index, "embedding": VECTOR} for index in range(len(texts))]
                return in_json({"object": "list", "data": data[::-1], "model": MODEL["id"], "usage": USAGE})
        return in_json({"error": {"message": "Not Found", "type": "NotFoundError", "code": 404}}, 404)

    def _completed(self, said: dict[str, Any]) -> dict[str, Any]:
        choice = {"index": 0, **said, "logprobs": self.logprobs, "finish_reason": self.finish_reason}
        return {"id": "chatcmpl-1", "model": MODEL["id"], "choices": [choice], "usage": USAGE}

    async def _stream(self, connection: Connection, request: Request) -> None:
        head = head_bytes(200, _STREAM_HEAD)
        async for event in self._events(request):
            await connection.send_chunk(b"data: " + event + b"\n\n", head=head)
            head = b""
            await asyncio.sleep(self.pause)
        await connection.end_chunks()

    async def _events(self, request: Request) -> AsyncIterator[bytes]:
        chat = request.path.endswith("/chat/completions")
        yield _event([{"delta": {"role": "assistant", "content": ""}} if chat else {"text": ""}])
        for delta in self.deltas:
            yield _event([{"delta": delta} if chat else {"text": delta["content"]}])
        if self.cut:
            return
        yield _event([{"delta": {}, "finish_reason": self.finish_reason}])
        if (json.loads(request.body).get("stream_options") or {}).get("include_usage"):
            yield _event([], usage=USAGE)
        yield b"[DONE]"


def _event(choices: list[dict[str, Any]], **more: Any) -> bytes:
    told = [{"index": 0, "finish_reason": None, **choice} for choice in choices]
    return json.dumps({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": told, **more}).encode()


def in_json(value: Any, status: int = 200) -> Reply:
    """Return a value as an answer."""
    return Reply(status, "application/json", json.dumps(value).encode())
