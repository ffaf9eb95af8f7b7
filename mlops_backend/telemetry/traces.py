"""Traces, seen from inside: what a request tells of itself, and the object that is there when nobody listens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from mlops_backend.telemetry.record import RequestRecord

# What of a request carries its trace, in the words of W3C's Trace Context.
PARENT: Final = "traceparent"
STATE: Final = "tracestate"
Pairs = tuple[tuple[str, str], ...]


class Trace(Protocol):
    """What becomes of one request in a trace."""

    @property
    def id(self) -> str:
        """The trace's id, 32 hexadecimal digits; empty where the request is in none."""

    @property
    def example(self) -> str:
        """The trace's id for a metric's exemplar; empty where the request has no span that is kept."""

    @property
    def wants_content(self) -> bool:
        """Whether somebody wants to read what was asked and answered."""

    def carried(self, record: RequestRecord, headers: Pairs) -> Pairs:
        """A client's headers as a backend gets them: with the place in the trace from which it goes on."""

    def hear(self, told: Mapping[str, Any]) -> None:
        """Take what an answer, or one of a stream's last objects, tells of itself."""

    def note_asked(self, attributes: Mapping[str, str]) -> None:
        """Take what was asked."""

    def note_answered(self, attributes: Mapping[str, str]) -> None:
        """Take what was answered."""

    def end(self, record: RequestRecord, now: float) -> None:
        """Tell of a request that is over; `now` is `perf_counter()` seconds."""


class Untraced:
    """A request of which nobody is told: its headers go on as they came."""

    __slots__ = ()
    id = example = ""
    wants_content = False

    def carried(self, record: RequestRecord, headers: Pairs) -> Pairs:
        """All of them."""
        return headers

    def hear(self, told: Mapping[str, Any]) -> None:
        """Do nothing."""

    def note_asked(self, attributes: Mapping[str, str]) -> None:
        """Do nothing."""

    def note_answered(self, attributes: Mapping[str, str]) -> None:
        """Do nothing."""

    def end(self, record: RequestRecord, now: float) -> None:
        """Do nothing."""


UNTRACED: Final = Untraced()


class Traces:
    """Where the requests of this process are told of, a part of the lifespan; this one tells nobody."""

    @property
    def exported(self) -> int:
        """Spans that a collector took."""
        return 0

    @property
    def lost(self) -> int:
        """Spans that no collector took."""
        return 0

    def begin(self, headers: Iterable[tuple[bytes, bytes]]) -> Trace:
        """A request that has just come, with those headers of its ASGI scope that carry a trace, or more."""
        return UNTRACED

    async def open(self) -> None:
        """Start telling."""

    async def aclose(self) -> None:
        """Tell what waits, for a short while."""


NOBODY: Final = Traces()
