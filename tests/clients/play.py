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
PICTURE_FILE: Final = "picture.png"
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

    `asked` has the arguments by what a request has to name before it is answered by the call; `bodies` are the requests
    that came.
    """

    tool: str = TOOL
    asked: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"": ARGUMENTS})
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def call(self, request: Request) -> Mapping[str, Any] | None:
        """The arguments of the call that is the answer to this request; nothing if it is no call."""
        if request.method != "POST":
            return None
        body = json.loads(request.body)
        self.bodies.append(body)
        answered = any(part.get("role") in _RESULTS or part.get("type") in _RESULTS for part in objects_in(body))
        if answered or self.tool not in names_of(body):
            return None
        return next((told for name, told in self.asked.items() if name.encode() in request.body), None)


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
        call = None if request.path in self.lacks else self.play.call(request)
        self.tool_calls = () if call is None else ({"function": {"name": self.play.tool, "arguments": call}},)
        self.words = WORDS if call is None else ("",)
        await super().answer(connection, request)


@dataclass(kw_only=True, eq=False)
class PlayingOpenAI(FakeOpenAI):
    """A server of chat completions alone that plays, and holds their rules; a call's arguments come in two pieces."""

    play: Play = field(default_factory=Play)
    models: list[dict[str, Any]] = field(default_factory=lambda: [MODEL | {"capabilities": CAPABILITIES}])

    async def answer(self, connection: Connection, request: Request) -> None:
        """Choose the words, and answer."""
        self.refusal = _refusal(request) if request.method == "POST" else None
        if self.refusal is None and (call := self.play.call(request)) is not None:
            text = json.dumps(call, ensure_ascii=False)
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
