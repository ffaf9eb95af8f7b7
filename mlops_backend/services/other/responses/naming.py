"""Names: a response as its client sees it, whatever its backend called it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Final, Protocol

from mlops_backend.aside import aside
from mlops_backend.errors import InvalidJSON
from mlops_backend.services.llm.dialects import bytes_of, endings, last_of, members, text_of
from mlops_backend.services.llm.generation import edited, of_member
from mlops_backend.telemetry.record import RequestRecord

# In a text the quotes would stand behind a backslash.
_RESPONSE: Final = b'"response"'
_DATA: Final = b"data:"
_OK: Final = 200


class Keep(Protocol):
    """Where a response goes that has ended, and what is held for that."""

    def __call__(self, response: str) -> bool:
        """Take it; whether it will be kept."""

    def let_go(self) -> None:
        """Nothing will come any more."""


@dataclass(frozen=True, slots=True)
class Naming:
    """What stands in a response in place of what its backend says.

    Backends' own ids are often numbers that come again. An empty `id` leaves the backend's.
    """

    id: str
    previous_id: str
    stored: bool

    def of(self, response: str) -> str:
        """A response's JSON with these; all other characters stay.

        Raises:
            InvalidJSON: it has more members than are read, or nests too deeply.
        """
        found = members(response)
        if not found:
            return response
        told = {"store": self.stored, "previous_response_id": self.previous_id or None}
        changes = {**told, "id": self.id} if self.id else told
        first = found[0].start
        return edited(
            response, [each for name, value in changes.items() for each in of_member(found, first, name, _json(value))]
        )

    def kept(self, told: str, keep: Keep) -> str:
        """A response that has ended and is named, once it is known whether it will be kept."""
        return told if not self.stored or keep(told) else replace(self, stored=False).of(told)

    async def whole(self, status: int, body: bytes, keep: Keep) -> bytes:
        """An answer that is no stream, named and kept; what is no response stays."""
        try:
            told = await aside(len(body), self._whole, body) if status == _OK else None
            return body if told is None else bytes_of(self.kept(told, keep))
        finally:
            keep.let_go()

    def _whole(self, body: bytes) -> str | None:
        text = text_of(body)
        try:
            return self.of(text.rstrip()) if last_of(members(text) or (), "object") == "response" else None
        except InvalidJSON:
            return None


class NamedEnding(endings.ResponsesEnding):
    """A stream of a response that is named here; its end is kept before it is sent.

    Args:
        naming: how.
        keep: takes the whole response.
    """

    def __init__(self, naming: Naming, keep: Keep) -> None:
        super().__init__()
        self._naming = naming
        self._keep = keep

    def feed(self, chunk: bytes) -> bytes:
        """The events; those with a whole response, which are few, have it named."""
        frames = super().feed(chunk)
        return self._named(frames) if frames.rfind(_RESPONSE) >= 0 else frames

    def rest(self) -> bytes:
        """An end without its empty line."""
        return self._named(super().rest())

    def settle(self, record: RequestRecord) -> None:
        """Let go of what was held for the end, however that was."""
        self._keep.let_go()
        super().settle(record)

    def _named(self, frames: bytes) -> bytes:
        lines = frames.split(b"\n")
        return b"\n".join(
            self._line(line) if line.startswith(_DATA) and line.find(_RESPONSE) >= 0 else line for line in lines
        )

    def _line(self, line: bytes) -> bytes:
        text = text_of(line[len(_DATA) :])
        try:
            found = members(text) or ()
            response = next((each for each in found if each.name == "response" and isinstance(each.value, dict)), None)
            if response is None:
                return line
            told = text[response.value_start : response.end]
            is_last = last_of(found, "type") in self.ends
            named = self._naming.of(told)
        except InvalidJSON:
            return line
        named = self._naming.kept(named, self._keep) if is_last else named
        return _DATA + bytes_of(text[: response.value_start] + named + text[response.end :])


def _json(value: str | bool | None) -> str:
    return json.dumps(value)
