"""Stops: texts that end an answer. A server of the OpenAI API takes four, and some leave in the text what they met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mlops_backend.errors import BadRequest

SENT: Final = 4
_MOST_WATCHED: Final = 100
_LONGEST: Final = 1000


def watched(options: Any) -> tuple[str, ...]:
    """Those of Ollama's `options` that this service watches for.

    Raises:
        BadRequest: more, or longer ones, than it watches for.
    """
    stops = options.get("stop") if isinstance(options, Mapping) else None
    texts = [stops] if isinstance(stops, str) else stops if isinstance(stops, list) else []
    left = tuple(text for text in texts if isinstance(text, str) and text)
    if len(left) > _MOST_WATCHED or any(len(text) > _LONGEST for text in left):
        raise BadRequest(f'option "stop" may have {_MOST_WATCHED} texts of {_LONGEST} characters at most')
    return left


class StopWatch:
    """One answer's text, piece by piece, up to the first of `stops`; without any of them it gives all as it comes.

    `met` is the one that was found, else empty: nothing that follows belongs to the answer.
    """

    __slots__ = ("_held", "_stops", "met")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.met = ""

    def feed(self, text: str) -> str:
        """What can be sent now: all but an end that may be a stop's beginning."""
        if not self._stops:
            return text
        whole = self._held + text
        found = [(at, stop) for stop in self._stops if (at := whole.find(stop)) >= 0]
        if found:
            at, self.met = min(found)
            self._held = ""
            return whole[:at]
        kept = max(_begun(whole, stop) for stop in self._stops)
        self._held = whole[len(whole) - kept :]
        return whole[: len(whole) - kept]

    @property
    def watches(self) -> bool:
        """Whether there is any text to watch for."""
        return bool(self._stops)

    @property
    def holds(self) -> bool:
        """Whether an end is held back, since a stop may begin there."""
        return bool(self._held)

    def rest(self) -> str:
        """What was held back and is no stop, since nothing follows."""
        held, self._held = self._held, ""
        return held


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of `text` are a beginning of `stop`."""
    longest = min(len(stop) - 1, len(text))
    return next((length for length in range(longest, 0, -1) if text.endswith(stop[:length])), 0)
