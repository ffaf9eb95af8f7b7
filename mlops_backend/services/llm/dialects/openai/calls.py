"""Tool calls of an answer: gathered from a stream's fragments, and told in Ollama's form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Final

from pydantic_core import from_json

from mlops_backend.errors import BackendNonsense
from mlops_backend.services.llm.dialects.openai.free_text import PARAMETER, FreeText, free_text

_NOT_A_CALL: Final = "The backend's tool call is not in its form."
_MOST_CALLS: Final = 1000
_LONGEST_NAME: Final = 1000
# Of all calls of an answer together: what is told as it comes is not held.
_MOST_HELD: Final = 8 * 1024 * 1024


def told_call(index: int, call: Any, names: Mapping[str, str], free_form: Set[str] = frozenset()) -> dict[str, Any]:
    """One call in Ollama's form: the arguments are an object, not the text of one; what is no object is an empty one.

    Args:
        index: which of the answer's calls it is.
        call: in OpenAI's form.
        names: a function's name as it was sent -> as the client wrote it.
        free_form: functions of which only the text is wanted, by the client's names.

    Raises:
        BackendNonsense: it has no name, or its arguments are cut.
    """
    try:
        function = call["function"]
        sent, arguments = str(function["name"]), function.get("arguments")
        if not sent:
            raise BackendNonsense(_NOT_A_CALL)
        name = names.get(sent, sent)
        value = {PARAMETER: free_text(arguments)} if name in free_form else _arguments(arguments)
        return _told(call.get("id"), index, name, value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BackendNonsense(_NOT_A_CALL) from error


@dataclass(slots=True, eq=False)
class _Call:
    """One call, as far as it has come; of one whose text alone is wanted `text` reads it, and `ready` is to be told."""

    id: str = ""
    index: Any = None
    name: str = ""
    value: Any = None
    size: int = 0
    text: FreeText | None = None
    ready: list[str] = field(default_factory=list)
    _pieces: list[str] = field(default_factory=list)
    _looked_at: int = 0

    @property
    def arguments(self) -> Any:
        """Those that came whole, or what came of their text."""
        return self._joined() if self.value is None else self.value

    def add(self, arguments: Any) -> None:
        """Fragments of a text are joined; an object comes whole."""
        if isinstance(arguments, str):
            if self.value is not None:
                self.value, self.size, self._pieces = None, 0, []
            self._pieces.append(arguments)
            self.size += len(arguments)
        elif arguments is not None:
            self.value = arguments

    def read_text(self) -> None:
        """Have the text read of what came."""
        if self.text is not None and self.value is None:
            self.ready.append(self.text.feed(self._joined()))
            self._pieces = []

    @property
    def is_whole(self) -> bool:
        """Whether they are; of none that may yet come it is not known.

        What was not is looked at again when it is twice as long: all looks together take no longer than the last one.
        """
        if self.text is not None:
            return self.text.is_whole
        if self.value is None and self._looked_at <= self.size < 2 * self._looked_at:
            return False
        arguments, self._looked_at = self.arguments, self.size
        try:
            _arguments(arguments)
        except ValueError:
            return False
        return not isinstance(arguments, str) or bool(arguments.strip())

    def _joined(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""


class CallGatherer:
    """A stream's calls, each from its fragments: the name first, then the text of the arguments.

    Fragments belong together by their index, and are told apart by their ids where servers give several calls one
    index, or none; of several indexes they are several calls, though of one id. A call of which only the text is wanted
    is told as it comes, once it is the first that is not told yet: each piece is a call of its own with the same
    `index`, `partial` but for the last one.

    Args:
        names: a function's name as it was sent -> as the client wrote it.
        free_form: functions of which only the text is wanted, by the client's names.

    Attributes:
        count: how many calls were told.
        is_spoilt: whether there was one that could not be.
    """

    def __init__(self, names: Mapping[str, str] | None = None, free_form: Set[str] = frozenset()) -> None:
        self._names = names or {}
        self._free_form = free_form
        self._calls: list[_Call] = []
        self._by_id: dict[str, _Call] = {}
        self._by_index: dict[Any, _Call] = {}
        self._last: _Call | None = None
        self._made = self._held = 0
        self.count = 0
        self.is_spoilt = False

    def __bool__(self) -> bool:
        """Whether there is a call that was not taken yet."""
        return bool(self._calls)

    def add(self, fragment: Any) -> None:
        """Take one fragment.

        Raises:
            BackendNonsense: it is not in its form, or the calls are too long.
        """
        try:
            function = fragment.get("function") or {}
            call = self._whole(fragment.get("index"), fragment.get("id"))
            name, arguments = function.get("name") or "", function.get("arguments")
            if name != call.name:  # some repeat it with each fragment
                call.name += name
            if len(call.name) > _LONGEST_NAME:
                raise BackendNonsense(_NOT_A_CALL)
            call.add(arguments)
        except (AttributeError, TypeError) as error:
            raise BackendNonsense(_NOT_A_CALL) from error
        if call.text is None and call.size and self._name(call) in self._free_form:
            call.text = FreeText()
        if isinstance(arguments, str) and (call.text is None or self._calls[:1] != [call]):
            self._held += len(arguments)
            if self._held > _MOST_HELD:
                raise BackendNonsense("The backend's tool calls are longer than this service accepts.")
        call.read_text()

    def begun(self) -> list[dict[str, Any]]:
        """Take the calls that are whole: another one has begun behind them; and what is new of a text."""
        return [*self._taken(lambda call: call is not self._last and call.is_whole), *self._piece()]

    def told(self) -> list[dict[str, Any]]:
        """Take the calls whose arguments are told and whole, where the choice is over but the stream is not."""
        return self._taken(lambda call: call.is_whole)

    def rest(self) -> list[dict[str, Any]]:
        """Take what is left, at the stream's end; a call that is cut costs no other."""
        return self._taken(lambda call: True)

    def _taken(self, is_due: Callable[[_Call], bool]) -> list[dict[str, Any]]:
        due = list(takewhile(is_due, self._calls))
        del self._calls[: len(due)]
        made: list[dict[str, Any]] = []
        for call in due:
            try:
                made.append(self._in_form(call))
            except BackendNonsense:
                self.is_spoilt = True
            else:
                self.count += 1
        return made

    def _in_form(self, call: _Call) -> dict[str, Any]:
        if call.text is not None:
            text = "".join(call.ready) + call.text.end()
            return _told(call.id, self.count, self._name(call), {PARAMETER: text})
        function = {"name": call.name, "arguments": call.arguments}
        return told_call(self.count, {"id": call.id, "function": function}, self._names, self._free_form)

    def _piece(self) -> list[dict[str, Any]]:
        first = self._calls[0] if self._calls else None
        if first is None or not any(first.ready):
            return []
        text, first.ready = "".join(first.ready), []
        return [{**_told(first.id, self.count, self._name(first), {PARAMETER: text}), "partial": True}]

    def _name(self, call: _Call) -> str:
        return self._names.get(call.name, call.name)

    def _whole(self, index: Any, told: Any) -> _Call:
        at = self._last if index is None else self._by_index.get(index)
        known = self._by_id.get(told) if told else at
        if known is not None and index is not None and known.index not in (None, index):
            known = None  # another one of the same id
        if known is None and at is not None and index is not None and at.id in ("", told):
            known = at  # its id comes late, or again
        if known is None:
            known = self._new()
        if told:
            known.id = told
            self._by_id[told] = known
        if index is not None:
            self._by_index[index] = known
            known.index = index
        self._last = known
        return known

    def _new(self) -> _Call:
        self._made += 1
        if self._made > _MOST_CALLS:
            raise BackendNonsense("The backend's answer calls too many tools.")
        made = _Call()
        self._calls.append(made)
        return made


def _told(told_id: Any, index: int, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    function = {"index": index, "name": name, "arguments": arguments}
    return {"id": str(told_id), "function": function} if told_id else {"function": function}


def _arguments(told: Any) -> dict[str, Any]:
    value = told
    for _ in range(2):  # some tell the text of a text
        if isinstance(value, str):
            value = from_json(value) if value.strip() else {}
    return value if isinstance(value, dict) else {}
