"""A reply, put together from the lines of its stream as they pass."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from pydantic_core import from_json

# Lines are kept as they come, and read so many bytes at a time: a token costs no more than its place in a list.
_UNREAD: Final = 64 * 1024
_HALF: Final = re.compile("[\ud800-\udfff]")
LONGEST: Final = 8 * 1024 * 1024


class ReplyText:
    """The text of one reply.

    `content` and `thinking` grow only while lines are read; `model` is what the backend calls it; `too_long` says that
    the rest of a reply of more than `LONGEST` characters was not kept.
    """

    __slots__ = ("_contents", "_length", "_lines", "_size", "_thoughts", "model", "too_long", "tool_calls")

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0
        self._contents: list[str] = []
        self._thoughts: list[str] = []
        self._length = 0
        self.tool_calls: list[dict[str, Any]] = []
        self.model = ""
        self.too_long = False

    @property
    def content(self) -> str:
        """What was said."""
        return "".join(self._contents)

    @property
    def thinking(self) -> str:
        """What was thought."""
        return "".join(self._thoughts)

    def add(self, lines: bytes) -> None:
        """Take whole lines that have been sent."""
        self._lines.append(lines)
        self._size += len(lines)
        if self._size > _UNREAD:
            self.read()

    def read(self) -> None:
        """Read what has come so far."""
        joined = b"".join(self._lines)
        self._lines.clear()
        self._size = 0
        for line in joined.split(b"\n"):
            if (told := _object(line)) is not None:
                self.take(told)

    def take(self, told: Any) -> None:
        """Add what one object tells."""
        message = told.get("message")
        if not isinstance(message, dict):
            return
        self.model = self.model or str(told.get("model") or "")
        content, thinking = (_text(message.get(name)) for name in ("content", "thinking"))
        told_calls = message.get("tool_calls")
        calls = [(call, len(_written(call))) for call in told_calls] if isinstance(told_calls, list) else []
        self._length += len(content) + len(thinking) + sum(size for _, size in calls)
        if self._length > LONGEST:
            self.too_long = True
            return
        self._contents.append(content)
        self._thoughts.append(thinking)
        self.tool_calls += [call for call, size in calls if size]


def _object(line: bytes) -> dict[str, Any] | None:
    """One line's object; what a strict reader refuses, such as half of a surrogate pair, is read as browsers do."""
    try:
        value = from_json(line)
    except ValueError:
        try:
            value = json.loads(line.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def _written(call: Any) -> str:
    """A tool call as JSON; empty for what is no object, or could not be told: a backend in Python may write NaN."""
    try:
        return json.dumps(call, allow_nan=False) if isinstance(call, dict) else ""
    except (ValueError, RecursionError):
        return ""


def _text(value: Any) -> str:
    return _HALF.sub("\N{REPLACEMENT CHARACTER}", value) if isinstance(value, str) else ""
