"""A server of OpenAI's kind that holds OpenAI's rules and leads a client through a loop of tools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.clients.rules import broken
from tests.fakes.http11 import Connection, Request
from tests.fakes.openai_server import FakeOpenAI, in_json

CHAT: Final = "/v1/chat/completions"
REASONING: Final = ("All three", " are told.")
SAID: Final = ("Zürich", " has rain,", " and it is noted.")
FINAL: Final = "".join(SAID)
NOTED: Final = 'He said "rain",\n\tthen \\ left — naïve.'
# The model of such a server that sees pictures, so that they go along.
SEEING: Final = {
    "id": "Qwen/Qwen3-VL",
    "object": "model",
    "max_model_len": 40960,
    "capabilities": ["completion", "tools", "vision", "thinking"],
}


@dataclass(frozen=True)
class Called:
    """One call, and what the client's tool answers."""

    id: str
    name: str
    arguments: Mapping[str, Any]
    result: str


# One call; two at once, of which one has no arguments; a call with quotes and newlines; then the words.
ROUNDS: Final = (
    (Called("a1B2c3D4e", "lookup", {"city": "Zürich"}, "rain in Zürich"),),
    (
        Called("b1B2c3D4e", "lookup", {"city": "Oslo"}, "rain in Oslo"),
        Called("c1B2c3D4e", "clock", {}, "half past twelve"),
    ),
    (Called("d1B2c3D4e", "keep", {"text": NOTED}, f"kept {len(NOTED)} letters"),),
)
# A tool of the client's own by which alone its loop ends: it is called with the words.
LAST: Final = Called("z1B2c3D4e", "final_answer", {"answer": FINAL}, "")


@dataclass(frozen=True)
class Script:
    """What a client is led through.

    Attributes:
        rounds: the calls, by the turns of the model.
        said: the model's last words, piece by piece.
        in_words: whether the client tells calls and results in words, as messages of the user and the assistant.
    """

    rounds: tuple[tuple[Called, ...], ...] = ROUNDS
    said: tuple[str, ...] = SAID
    in_words: bool = False

    @property
    def calls(self) -> tuple[Called, ...]:
        """All calls, in their order."""
        return tuple(called for calls in self.rounds for called in calls)

    def next_calls(self, turns: Sequence[Mapping[str, Any]]) -> tuple[Called, ...]:
        """The round whose results are not here yet."""
        behind = len(results_in(turns)) if not self.in_words else len(self.told_in_words(turns))
        for calls in self.rounds:
            if behind < len(calls):
                return calls
            behind -= len(calls)
        return ()

    def told_in_words(self, turns: Sequence[Mapping[str, Any]]) -> list[Called]:
        """The calls whose results stand in the text of the user's messages."""
        text = json.dumps([turn["content"] for turn in turns if turn["role"] == "user"], ensure_ascii=False)
        return [call for call in self.calls if call.result in text]


@dataclass(kw_only=True, eq=False)
class LoopingOpenAI(FakeOpenAI):
    """The server; `refused` are its reasons, `bodies` what it was sent. Its tokens come at a model's pace."""

    script: Script = field(default_factory=Script)
    pause: float = 0.02
    models: list[dict[str, Any]] = field(default_factory=lambda: [SEEING])
    refused: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    async def answer(self, connection: Connection, request: Request) -> None:
        """Refuse what breaks a rule, else play the round that comes."""
        self.refusal = None
        if request.method == "POST" and request.path == CHAT:
            body = json.loads(request.body)
            self.bodies.append(body)
            if reason := broken(body):
                self.refused.append(reason)
                await connection.send(in_json({"error": {"message": reason, "type": "invalid_request_error"}}, 400))
                return
            self._choose(body)
        await super().answer(connection, request)

    def _choose(self, body: Mapping[str, Any]) -> None:
        calls = self.script.next_calls(body["messages"]) if body.get("tools") else ()
        if not calls and any(tool["function"]["name"] == LAST.name for tool in body.get("tools") or ()):
            calls = (LAST,)
        if not calls:
            said = self.script.said
            self.message = {"content": "".join(said), "reasoning_content": "".join(REASONING)}
            self.deltas = [{"reasoning_content": word} for word in REASONING] + [{"content": word} for word in said]
            self.finish_reason = "stop"
            return
        told = [_in_openais_form(call, offered(body["tools"], call.name)) for call in calls]
        self.message = {"content": None, "tool_calls": told}
        self.deltas = [{"tool_calls": [piece]} for index, call in enumerate(told) for piece in _in_pieces(index, call)]
        self.finish_reason = "tool_calls"


def results_in(turns: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the tools answered, by the calls, in their order."""
    return [str(turn["content"]) for turn in turns if turn["role"] == "tool"]


def offered(tools: Sequence[Mapping[str, Any]], name: str) -> str:
    """The name under which the client offers a tool: some put the plugin's or the server's before it."""
    names = [str(tool["function"]["name"]) for tool in tools]
    return next((each for each in names if each.endswith(name)), name)


def _in_openais_form(call: Called, name: str) -> dict[str, Any]:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return {"id": call.id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _in_pieces(index: int, call: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A call as a stream has it: its name first, and its arguments in two pieces."""
    text = call["function"]["arguments"]
    start = {**call, "index": index, "function": {**call["function"], "arguments": ""}}
    return [start, *({"index": index, "function": {"arguments": part}} for part in (text[:5], text[5:]) if part)]
