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
    made: list[tuple[Turn, list[Any]]] = []
    for turn in turns:
        begins = not made or made[-1][0]["role"] == "system"
        role = "user" if turn["role"] == "system" and not begins else turn["role"]
        if made and role == made[-1][0]["role"] and role in ("system", "user"):
            made[-1][1].append(turn["content"])
        else:
            made.append(({**turn, "role": role}, [turn["content"]]))
    return [turn if len(said) == 1 else {**turn, "content": _joined(said)} for turn, said in made]


@dataclass(slots=True)
class _Call:
    """One call, and what it was answered; `told` is the client's id, `is_made` says that the client sent no call."""

    call: dict[str, Any]
    told: str
    result: Turn | None = None
    texts: list[str] = field(default_factory=list)
    is_made: bool = False


@dataclass(slots=True)
class _Waiting:
    """Calls of the client's, in their order, of which the first is sought that has no result."""

    calls: list[_Call] = field(default_factory=list)
    answered: int = 0

    def first(self) -> _Call | None:
        """It, or the last one where all have one."""
        while self.answered < len(self.calls) and self.calls[self.answered].result is not None:
            self.answered += 1
        return self.calls[min(self.answered, len(self.calls) - 1)] if self.calls else None


@dataclass(slots=True)
class _Block:
    """An assistant's turn, its calls, their results, and what comes behind them."""

    said: Turn | None
    calls: list[_Call] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)
    behind: list[Turn] = field(default_factory=list)
    results: int = 0
    _said: dict[str, list[Any]] = field(default_factory=dict)
    _by_id: dict[str, _Call] = field(default_factory=dict)
    _by_name: dict[str, _Waiting] = field(default_factory=dict)
    _any: _Waiting = field(default_factory=_Waiting)

    @classmethod
    def of(cls, turn: Turn, ids: _Ids) -> _Block:
        block = cls({name: value for name, value in turn.items() if name != "tool_calls"})
        block._call(turn, ids)
        return block

    @property
    def is_open(self) -> bool:
        """Whether what an assistant says now still belongs to its turn."""
        return self.said is not None and not (self.behind or self.results)

    @property
    def takes_results(self) -> bool:
        return self.said is not None and (bool(self.calls) or not self.behind)

    @property
    def waits(self) -> bool:
        """Whether a result is still to come, so that others have to stand behind it."""
        return self.said is not None and self.results < len(self.calls)

    def join(self, turn: Turn, ids: _Ids) -> None:
        """Add what the assistant said next."""
        assert self.said is not None  # noqa: S101 - only an open one is joined
        for name in ("content", "reasoning_content", "reasoning"):
            if turn.get(name):
                self._said.setdefault(name, [self.said.get(name)]).append(turn[name])
        self._call(turn, ids)

    def add_result(self, turn: Turn, ids: _Ids) -> None:
        text, images = _parted(turn["content"])
        self.images += images
        call = self._answered_by(turn)
        if call is None:
            name = turn.get("name") or _NAMELESS
            made = {"id": ids.new(), "type": "function", "function": {"name": name, "arguments": "{}"}}
            self._add(call := _Call(made, turn.get("tool_call_id", ""), is_made=True))
        if call.result is None:
            call.result = {**turn, "tool_call_id": call.call["id"]}
            self.results += 1
        call.texts.append(text)

    def turns(self, *, ends: bool) -> list[Turn]:
        """What is sent; `ends` where nothing follows, and calls may still wait."""
        if self.said is None:
            return self.behind
        went_on = not ends or bool(self.behind) or self.results > 0
        kept = [call for call in self.calls if call.result is not None or not went_on]
        spoken = {**self.said, **{name: _joined(contents) for name, contents in self._said.items()}}
        said = [{**spoken, **({"tool_calls": [call.call for call in kept]} if kept else {})}]
        results = [{**call.result, "content": _joined(call.texts)} for call in kept if call.result is not None]
        shown = [{"role": "user", "content": self.images}] if self.images else []
        is_empty = not (kept or spoken["content"])
        return [*([] if is_empty and self.calls else said), *results, *shown, *self.behind]

    def _call(self, turn: Turn, ids: _Ids) -> None:
        for call in turn.get("tool_calls") or ():
            told = call["id"]
            self._add(_Call({**call, "id": ids.unique(told)}, told))

    def _add(self, call: _Call) -> None:
        self.calls.append(call)
        if call.told:
            self._by_id.setdefault(call.told, call)
        if not call.is_made:
            self._any.calls.append(call)
            self._by_name.setdefault(call.call["function"]["name"], _Waiting()).calls.append(call)

    def _answered_by(self, turn: Turn) -> _Call | None:
        told, name = turn.get("tool_call_id"), turn.get("name")
        if told and self._by_id:
            return self._by_id.get(told)
        return (self._by_name.get(name, _Waiting()) if name else self._any).first()


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


def _joined(contents: Iterable[Any]) -> Any:
    """The contents of one turn: texts, or lists of parts."""
    texts: list[str] = []
    parts: list[Any] | None = None
    for content in filter(None, contents):
        if parts is None and isinstance(content, str):
            texts.append(content)
        else:
            parts = _parts("\n".join(texts)) if parts is None else parts
            parts += _parts(content)
    return "\n".join(texts) if parts is None else parts


def _parts(content: str | list[Any]) -> list[Any]:
    return ([{"type": "text", "text": content}] if content else []) if isinstance(content, str) else list(content)
