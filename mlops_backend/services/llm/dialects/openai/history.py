"""Histories: a conversation's turns in the order, and with the ids, that OpenAI's rules ask for.

Ollama takes tool calls that nobody answered, results without a call, calls and text of one turn in several messages,
and other messages between a call and its result. A server that holds OpenAI's rules refuses each of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

Turn = dict[str, Any]
# Templates of Mistral's demand exactly so many letters and digits; those of Kimi show an id of the second form.
_ID_LENGTH: Final = 9
_KEPT_ID: Final = re.compile(r"[A-Za-z0-9]{9}|functions\.[\w.-]+:[0-9]+")
_NAMELESS: Final = "unknown_tool"


def in_order(turns: Iterable[Turn]) -> list[Turn]:
    """The turns as a strict server takes them.

    Assistant messages behind one another are one. A result stands directly behind its call, which is found by its id,
    by its name, or is the next one that waits; what the client put between comes behind the results. A second result of
    one call is joined to the first. A call that was never answered, though the conversation went on, is left out; for
    each result whose call is missing one is made. Images of a result come in a user message behind it.
    """
    ids = _Ids()
    blocks: list[_Block] = []
    for turn in turns:
        block = blocks[-1] if blocks else None
        if turn["role"] == "tool":
            if block is None or not block.takes_results:
                blocks.append(block := _Block({"role": "assistant", "content": ""}))
            block.add_result(turn, ids)
        elif turn["role"] == "assistant" and block is not None and block.is_open:
            block.join(turn, ids)
        elif turn["role"] == "assistant":
            blocks.append(_Block.of(turn, ids))
        elif block is not None and block.waits:
            block.behind.append(turn)
        else:
            blocks.append(_Block(None, behind=[turn]))
    return [turn for number, block in enumerate(blocks, 1) for turn in block.turns(ends=number == len(blocks))]


def with_instructions_first(turns: Iterable[Turn]) -> list[Turn]:
    """The turns for a template that takes instructions at the beginning alone: the first of them are one turn.

    Later ones are a user's turn in their place, so that what a server kept of the beginning still serves; turns of a
    user behind one another are one.
    """
    made: list[Turn] = []
    for turn in turns:
        begins = not made or made[-1]["role"] == "system"
        role = "user" if turn["role"] == "system" and not begins else turn["role"]
        if made and role == made[-1]["role"] and role in ("system", "user"):
            made[-1] = {**made[-1], "content": _joined(made[-1]["content"], turn["content"])}
        else:
            made.append({**turn, "role": role})
    return made


@dataclass(slots=True)
class _Call:
    """One call, and what it was answered; `told` is the client's id, `is_made` says that the client sent no call."""

    call: dict[str, Any]
    told: str
    result: Turn | None = None
    is_made: bool = False


@dataclass(slots=True)
class _Block:
    """An assistant's turn, its calls, their results, and what comes behind them."""

    said: Turn | None
    calls: list[_Call] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)
    behind: list[Turn] = field(default_factory=list)

    @classmethod
    def of(cls, turn: Turn, ids: _Ids) -> _Block:
        block = cls({name: value for name, value in turn.items() if name != "tool_calls"})
        block._call(turn, ids)
        return block

    @property
    def is_open(self) -> bool:
        """Whether what an assistant says now still belongs to its turn."""
        return self.said is not None and not self.behind and all(call.result is None for call in self.calls)

    @property
    def takes_results(self) -> bool:
        return self.said is not None and (bool(self.calls) or not self.behind)

    @property
    def waits(self) -> bool:
        """Whether a result is still to come, so that others have to stand behind it."""
        return self.said is not None and any(call.result is None for call in self.calls)

    def join(self, turn: Turn, ids: _Ids) -> None:
        """Add what the assistant said next."""
        assert self.said is not None  # noqa: S101 - only an open one is joined
        for name in ("content", "reasoning_content", "reasoning"):
            if turn.get(name):
                self.said[name] = _joined(self.said.get(name), turn[name])
        self._call(turn, ids)

    def add_result(self, turn: Turn, ids: _Ids) -> None:
        text, images = _parted(turn["content"])
        self.images += images
        call = self._answered_by(turn)
        if call is None:
            name = turn.get("name") or _NAMELESS
            made = {"id": ids.new(), "type": "function", "function": {"name": name, "arguments": "{}"}}
            self.calls.append(call := _Call(made, turn.get("tool_call_id", ""), is_made=True))
        if call.result is None:
            call.result = {**turn, "content": text, "tool_call_id": call.call["id"]}
        else:
            call.result["content"] = _joined(call.result["content"], text)

    def turns(self, *, ends: bool) -> list[Turn]:
        """What is sent; `ends` where nothing follows, and calls may still wait."""
        if self.said is None:
            return self.behind
        went_on = not ends or bool(self.behind) or any(call.result is not None for call in self.calls)
        kept = [call for call in self.calls if call.result is not None or not went_on]
        said = [{**self.said, **({"tool_calls": [call.call for call in kept]} if kept else {})}]
        results = [call.result for call in kept if call.result is not None]
        shown = [{"role": "user", "content": self.images}] if self.images else []
        is_empty = not (kept or self.said["content"])
        return [*([] if is_empty and self.calls else said), *results, *shown, *self.behind]

    def _call(self, turn: Turn, ids: _Ids) -> None:
        for call in turn.get("tool_calls") or ():
            told = call["id"]
            self.calls.append(_Call({**call, "id": ids.unique(told)}, told))

    def _answered_by(self, turn: Turn) -> _Call | None:
        told, name = turn.get("tool_call_id"), turn.get("name")
        if told and (found := [call for call in self.calls if call.told == told]):
            return found[0]
        if told and any(call.told for call in self.calls):
            return None
        clients = [call for call in self.calls if not call.is_made]
        fitting = [call for call in clients if not name or name == call.call["function"]["name"]]
        return next((call for call in fitting if call.result is None), fitting[-1] if fitting else None)


class _Ids:
    """The ids of one conversation's calls, the same each time that it is sent."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._made = 0

    def unique(self, told: str) -> str:
        """The client's own in a form that all servers take, if there is one and it was not used before."""
        own = told if not told or _KEPT_ID.fullmatch(told) else _short(told)
        if not own or own in self._used:
            return self.new()
        self._used.add(own)
        return own

    def new(self) -> str:
        while True:
            self._made += 1
            made = _short(f"call {self._made}")
            if made not in self._used:
                self._used.add(made)
                return made


def _short(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_ID_LENGTH]


def _parted(content: str | list[Any]) -> tuple[str, list[Any]]:
    """A result's text, and its images."""
    if isinstance(content, str):
        return content, []
    return "\n".join(part["text"] for part in content if "text" in part), [
        part for part in content if "text" not in part
    ]


def _joined(first: Any, second: Any) -> Any:
    """Two contents of one turn: texts, or lists of parts."""
    if not first or not second:
        return first or second
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n{second}"
    return [*_parts(first), *_parts(second)]


def _parts(content: str | list[Any]) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
