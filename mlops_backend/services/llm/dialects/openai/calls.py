"""Tool calls of an answer: gathered from a stream's fragments, and told in Ollama's form."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from typing import Any, Final

from pydantic_core import from_json

from mlops_backend.errors import BackendNonsense

_NOT_A_CALL: Final = "The backend's tool call is not in its form."
_MOST_CALLS: Final = 1000


def told_call(index: int, call: Any, names: Mapping[str, str]) -> dict[str, Any]:
    """One call in Ollama's form: the arguments are an object, not the text of one; what is no object is an empty one.

    Args:
        index: which of the answer's calls it is.
        call: in OpenAI's form.
        names: a function's name as it was sent -> as the client wrote it.

    Raises:
        BackendNonsense: it has no name, or its arguments are cut.
    """
    try:
        function = call["function"]
        name = str(function["name"])
        named = {"index": index, "name": names.get(name, name), "arguments": _arguments(function.get("arguments"))}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BackendNonsense(_NOT_A_CALL) from error
    return {"id": call["id"], "function": named} if call.get("id") else {"function": named}


class CallGatherer:
    """A stream's calls, each from its fragments: the name first, then the text of the arguments.

    Fragments belong together by their index, and are told apart by their ids where servers give several calls one
    index, or none.
    """

    def __init__(self) -> None:
        self._calls: list[dict[str, Any]] = []
        self._by_id: dict[str, dict[str, Any]] = {}
        self._by_index: dict[Any, dict[str, Any]] = {}
        self._last: dict[str, Any] | None = None
        self._made = 0

    def __bool__(self) -> bool:
        """Whether there is a call that was not taken yet."""
        return bool(self._calls)

    def add(self, fragment: Any) -> None:
        """Take one fragment.

        Raises:
            BackendNonsense: it is not in its form.
        """
        try:
            function = fragment.get("function") or {}
            whole = self._whole(fragment.get("index"), fragment.get("id"))
            told = whole["function"]
            name, arguments = function.get("name") or "", function.get("arguments")
            if name != told["name"]:  # some repeat it with each fragment
                told["name"] += name
            told["arguments"] = _added(told["arguments"], arguments)
        except (AttributeError, TypeError) as error:
            raise BackendNonsense(_NOT_A_CALL) from error

    def begun(self) -> list[dict[str, Any]]:
        """Take the calls that are whole: another one has begun behind them."""
        whole = list(takewhile(lambda call: call is not self._last and _is_whole(call), self._calls))
        del self._calls[: len(whole)]
        return whole

    def told(self) -> list[dict[str, Any]]:
        """Take the calls whose arguments are told and whole, where the choice is over but the stream is not."""
        whole = list(takewhile(lambda call: call["function"]["arguments"] and _is_whole(call), self._calls))
        del self._calls[: len(whole)]
        return whole

    def rest(self) -> list[dict[str, Any]]:
        """Take what is left, at the stream's end."""
        whole, self._calls = self._calls, []
        return whole

    def _whole(self, index: Any, told: Any) -> dict[str, Any]:
        at = self._last if index is None else self._by_index.get(index)
        known = self._by_id.get(told) if told else at
        if known is None and at is not None and index is not None and not at["id"]:
            known = at  # its id comes late
        if known is None:
            known = self._new()
        if told:
            known["id"] = told
            self._by_id[told] = known
        if index is not None:
            self._by_index[index] = known
        self._last = known
        return known

    def _new(self) -> dict[str, Any]:
        self._made += 1
        if self._made > _MOST_CALLS:
            raise BackendNonsense("The backend's answer calls too many tools.")
        made: dict[str, Any] = {"id": "", "function": {"name": "", "arguments": ""}}
        self._calls.append(made)
        return made


def _is_whole(call: Mapping[str, Any]) -> bool:
    try:
        _arguments(call["function"]["arguments"])
    except ValueError:
        return False
    return True


def _added(before: Any, more: Any) -> Any:
    """Fragments of a text are joined; an object comes whole."""
    if more is None:
        return before
    return before + more if isinstance(before, str) and isinstance(more, str) else more


def _arguments(told: Any) -> dict[str, Any]:
    value = told
    for _ in range(2):  # some tell the text of a text
        if isinstance(value, str):
            value = from_json(value) if value.strip() else {}
    return value if isinstance(value, dict) else {}
