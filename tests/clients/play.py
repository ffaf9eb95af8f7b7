"""The servers behind the service: fakes that say known words, and call a known tool when they are offered any."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from tests.clients.rules import broken
from tests.fakes.http11 import Connection, Reply, Request
from tests.fakes.ollama import FakeOllama
from tests.fakes.ollama_shapes import json_reply, shown
from tests.fakes.openai_server import MODEL, FakeOpenAI

WORDS: Final = ("Hello", " from", " a", " naïve", " model", " <&>", " that", " ends.")
SENTENCE: Final = "".join(WORDS)
TOOL: Final = "weather"
ARGUMENTS: Final = {"city": "Zürich", "days": 3}
# What the drivers' tool answers, their picture, and the name of no model.
RESULT: Final = "21 degrees and sun"
PICTURE: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
CAPABILITIES: Final = ["completion", "tools", "vision"]
UNKNOWN: Final = "no-such-model"
# What stands in the file that an agent is asked about, and the words that ask for it.
NOTE: Final = "The word is heron-42."
NOTE_FILE: Final = "note.txt"
CALL_ID: Final = "a1B2c3D4e"
# What Ollama 0.9.3 does not have, and what vLLM has beside the rest.
YOUNGER: Final = frozenset({"/v1/messages", "/v1/messages/count_tokens", "/v1/responses"})
CHAT: Final = "/v1/chat/completions"
_SERVED: Final = (CHAT, "/v1/embeddings")
_OF_VLLM: Final = ("/v1/messages", "/v1/responses")
_RESULTS: Final = ("tool", "function_call_output", "tool_result")


@dataclass
class Play:
    """What a fake is to say: the call, if it is offered the tool and has no result yet, else the words.

    `asked` is what a request has to name before it is answered by the call; `bodies` are the requests that came.
    """

    tool: str = TOOL
    arguments: Mapping[str, Any] = field(default_factory=lambda: ARGUMENTS)
    asked: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def calls(self, request: Request) -> bool:
        """Whether the answer to this request is the call."""
        if request.method != "POST":
            return False
        body = json.loads(request.body)
        self.bodies.append(body)
        answered = any(part.get("role") in _RESULTS or part.get("type") in _RESULTS for part in objects_in(body))
        return self.tool in names_of(body) and self.asked.encode() in request.body and not answered


def objects_in(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of a conversation, at whatever depth; not the tools."""
    if isinstance(value, dict):
        yield value
        value = [part for name, part in value.items() if name != "tools"]
    if isinstance(value, list):
        for part in value:
            yield from objects_in(part)


def names_of(body: dict[str, Any]) -> list[str]:
    """The names of the tools that a request offers."""
    return [str(tool.get("name") or tool.get("function", {}).get("name")) for tool in body.get("tools") or []]


@dataclass(kw_only=True, eq=False)
class PlayingOllama(FakeOllama):
    """An Ollama that plays; its model sees pictures."""

    play: Play = field(default_factory=Play)

    async def answer(self, connection: Connection, request: Request) -> None:
        """Choose the words, and answer."""
        if request.path == "/api/show" and UNKNOWN.encode() not in request.body:
            await connection.send(json_reply(shown() | {"capabilities": CAPABILITIES}))
            return
        call = request.path not in self.lacks and self.play.calls(request)
        self.tool_calls = ({"function": {"name": self.play.tool, "arguments": self.play.arguments}},) if call else ()
        self.words = ("",) if call else WORDS
        await super().answer(connection, request)


@dataclass(kw_only=True, eq=False)
class PlayingOpenAI(FakeOpenAI):
    """A server of chat completions alone that plays, and holds their rules; a call's arguments come in two pieces."""

    play: Play = field(default_factory=Play)
    models: list[dict[str, Any]] = field(default_factory=lambda: [MODEL | {"capabilities": CAPABILITIES}])

    async def answer(self, connection: Connection, request: Request) -> None:
        """Choose the words, and answer."""
        self.refusal = _refusal(request) if request.method == "POST" else None
        if self.refusal is None and self.play.calls(request):
            text = json.dumps(self.play.arguments, ensure_ascii=False)
            start = {"index": 0, "id": CALL_ID, "type": "function"}
            self.message = {"content": None, "tool_calls": [{**start, "function": self._function(text)}]}
            rest = {"index": 0, "function": {"arguments": text[9:]}}
            self.deltas = [{"tool_calls": [{**start, "function": self._function(text[:9])}]}, {"tool_calls": [rest]}]
            self.finish_reason = "tool_calls"
        else:
            self.message, self.deltas = {"content": SENTENCE}, [{"content": word} for word in WORDS]
            self.finish_reason = "stop"
        await super().answer(connection, request)

    def _completed(self, said: dict[str, Any]) -> dict[str, Any]:
        return {"object": "chat.completion", "created": MODEL["created"]} | super()._completed(said)

    async def _events(self, request: Request) -> AsyncIterator[bytes]:
        named = json.dumps({"created": MODEL["created"], "model": MODEL["id"]}).encode()[:-1]
        async for event in super()._events(request):
            yield event if event == b"[DONE]" else named + b", " + event[1:]

    def _function(self, arguments: str) -> dict[str, str]:
        return {"name": self.play.tool, "arguments": arguments}


def _refusal(request: Request) -> tuple[int, dict[str, Any]] | None:
    """What a POST is refused with: another route, another model, or a broken rule."""
    body = json.loads(request.body)
    if request.path not in _SERVED:
        return 404, {"detail": "Not Found"}
    if (model := body.get("model")) != MODEL["id"]:
        message = f"The model `{model}` does not exist."
        return 404, {"error": {"message": message, "type": "NotFoundError", "param": "model", "code": 404}}
    if reason := request.path == CHAT and broken({"messages": body["messages"]}):
        return 400, {"error": {"message": reason, "type": "BadRequestError", "param": None, "code": 400}}
    return None


class _Counting:
    """A connection on which a response's usage has the number that vLLM tells and an Ollama does not."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def send(self, reply: Reply, **more: Any) -> None:
        """A whole answer."""
        body = self._counted(reply.body)
        await self._connection.send(replace(reply, body=body, declared=len(body)), **more)

    async def send_chunk(self, data: bytes, **more: Any) -> None:
        """A piece of a stream."""
        await self._connection.send_chunk(self._counted(data), **more)

    def _counted(self, data: bytes) -> bytes:
        return data.replace(b'"cached_tokens":0', b'"cached_tokens":0,"cache_write_tokens":0')


@dataclass(kw_only=True, eq=False)
class PlayingVLLM(PlayingOpenAI):
    """One that has messages and responses of its own too, as vLLM; a fake Ollama's words for both."""

    def __post_init__(self) -> None:
        """Both play the same."""
        self._both = PlayingOllama(play=self.play, models=[str(MODEL["id"])])

    async def answer(self, connection: Connection, request: Request) -> None:
        """Choose the words, and answer."""
        if request.path in _OF_VLLM:
            await self._both.answer(cast(Connection, _Counting(connection)), request)
        else:
            await super().answer(connection, request)
