"""Fields: the members of an object, each of the type that Ollama wants there, and its own words where one is not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from mlops_backend.errors import BadRequest
from mlops_backend.services.llm.dialects import folded

T = TypeVar("T")

_KINDS: Final[Mapping[type, str]] = {
    bool: "bool",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}
_LARGEST: Final = 2**63
_LONGEST: Final = 60


class Fields:
    """An object's members under the names by which Go finds them; `null` is not there.

    Args:
        value: the object.
        struct: what Ollama calls it.
        where: the names of the fields that it stands in, each with a dot behind it.
    """

    __slots__ = ("_struct", "_value", "_where")

    def __init__(self, value: Mapping[str, Any], struct: str, where: str = "") -> None:
        self._value = {folded(name): inner for name, inner in value.items() if inner is not None}
        self._struct = struct
        self._where = where

    def __contains__(self, name: str) -> bool:
        """Whether there is such a field, and it is not `null`."""
        return name in self._value

    def any(self, name: str) -> Any:
        """Whatever stands there."""
        return self._value.get(name)

    def text(self, name: str) -> str:
        """A text; empty where there is none. Raises `BadRequest`, as those below do, where it is something else."""
        return self._of(name, str, "string") or ""

    def flag(self, name: str) -> bool:
        """A switch; off where there is none."""
        return self._of(name, bool, "bool") or False

    def whole_number(self, name: str) -> int | None:
        """A number without a fraction."""
        value = self._value.get(name)
        if value is None or (type(value) is int and -_LARGEST <= value < _LARGEST):
            return value
        raise self._wrong(name, "int")

    def number(self, name: str, called: str = "float64") -> float | None:
        """Any number; `called` is its type in Ollama."""
        value = self._value.get(name)
        if value is None or (type(value) in (int, float) and abs(value) < _LARGEST and math.isfinite(value)):
            return value
        raise self._wrong(name, called)

    def items(self, name: str, of: str) -> list[Any] | None:
        """A list; `of` is what Ollama calls its items."""
        return self._of(name, list, f"[]{of}")

    def texts(self, name: str) -> list[str]:
        """A list of texts."""
        found = self.items(name, "string") or []
        for value in found:
            Fields({name: value}, self._struct, self._where).text(name)
        return found

    def objects(self, name: str, struct: str) -> list[Fields]:
        """A list of objects, each of which Ollama calls `struct`; a `null` among them is an empty one."""
        found = self.items(name, struct) or ()
        return [
            Fields({name: value}, self._struct, self._where).inner(name, struct) or Fields({}, "") for value in found
        ]

    def inner(self, name: str, struct: str) -> Fields | None:
        """An object in this one; `struct` is what Ollama calls it."""
        value: dict[str, Any] | None = self._of(name, dict, struct)
        return None if value is None else Fields(value, struct.rpartition(".")[2], f"{self._where}{name}.")

    def _of(self, name: str, kind: type[T], called: str) -> T | None:
        value = self._value.get(name)
        if value is None or isinstance(value, kind):
            return value
        raise self._wrong(name, called)

    def _wrong(self, name: str, called: str) -> BadRequest:
        value = self._value[name]
        kind = kind_of(value)
        found = f"{kind} {value}" if called == "int" and kind == "number" else kind
        place = f"{self._struct}.{self._where}{name}"
        return BadRequest(f"json: cannot unmarshal {found[:_LONGEST]} into Go struct field {place} of type {called}")


def kind_of(value: Any) -> str:
    """What Go calls the kind of a value in JSON."""
    return _KINDS[type(value)]
