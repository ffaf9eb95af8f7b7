"""The servers behind the service: fakes that say known words, and call a known tool when they are offered any."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.fakes.http11 import Connection, Request
from tests.fakes.ollama import FakeOllama
from tests.fakes.openai_server import FakeOpenAI

WORDS: Final = ("Hello", " from", " a", " naïve", " model", " <&>", " that", " ends.")
SENTENCE: Final = "".join(WORDS)
TOOL: Final = "weather"
ARGUMENTS: Final = {"city": "Zürich", "days": 3}
# What stands in the file that an agent is asked about, and the words that ask for it.
NOTE: Final = "The word is heron-42."
NOTE_FILE: Final = "note.txt"
CALL_ID: Final = "a1B2c3D4e"
# The first release that has every route which the fake has.
OLLAMA_VERSION: Final = "0.14.0"
_SERVED: Final = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
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
    """An Ollama that plays."""

    play: Play = field(default_factory=Play)
    version: str = OLLAMA_VERSION

    async def answer(self, connection: Connection, request: Request) -> None:
        """Choose the words, and answer."""
        call = self.play.calls(request)
        function = {"name": self.play.tool, "arguments": self.play.arguments}
        self.tool_calls = ({"id": CALL_ID, "function": function},) if call else ()
        self.words = ("",) if call else WORDS
        await super().answer(connection, request)


@dataclass(kw_only=True, eq=False)
class PlayingOpenAI(FakeOpenAI):
    """A server of OpenAI's kind that plays; a call's arguments come in two pieces."""

    play: Play = field(default_factory=Play)

    async def answer(self, connection: Connection, request: Request) -> None:
        """Choose the words, and answer."""
        served = request.method != "POST" or request.path in _SERVED
        self.refusal = None if served else (404, {"detail": "Not Found"})
        if served and self.play.calls(request):
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
        return {"object": "chat.completion", "created": 1700000000} | super()._completed(said)

    def _function(self, arguments: str) -> dict[str, str]:
        return {"name": self.play.tool, "arguments": arguments}
