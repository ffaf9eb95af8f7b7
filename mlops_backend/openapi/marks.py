"""What a view tells of itself, beside what quart-schema's own decorators tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
SSE: Final = "text/event-stream"
CSV: Final = "text/csv"
BYTES: Final = "application/octet-stream"
_MARKS: Final = "_mlops_marks"


@dataclass(frozen=True, slots=True)
class Marks:
    """All that a view has told.

    Attributes:
        media_types: those of the answers of a status.
        is_open: no key is needed.
        relayed: a backend answers, of whatever kind it says.
        asks_backend: a backend's refusal may be the answer, with its status.
        sent: media type, schema and example of a body that the service itself does not read by a model.
    """

    media_types: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    is_open: bool = False
    relayed: bool = False
    asks_backend: bool = False
    sent: tuple[str, Mapping[str, Any], Any] | None = None


def marks_of(view: Callable[..., Any]) -> Marks:
    """What `view` has told of itself."""
    marks: Marks = getattr(view, _MARKS, Marks())
    return marks


def document_media_types(status: int, *media_types: str) -> Callable[[F], F]:
    """Document that the route's answer of `status` comes as any of `media_types`."""

    def decorate(view: F) -> F:
        told = {**marks_of(view).media_types, status: media_types}
        return _marked(view, media_types=told)

    return decorate


def document_open(view: F) -> F:
    """Document that the route needs no key."""
    return _marked(view, is_open=True)


def document_asking(view: F) -> F:
    """Document that a backend is asked, whose refusals go on with their status."""
    return _marked(view, asks_backend=True)


def document_relayed(
    example: Mapping[str, Any] | None = None, *media_types: str, empty: bool = False, also: int = 0
) -> Callable[[F], F]:
    """Document that a backend answers, byte for byte.

    Args:
        example: a body that the route takes; none: it takes none.
        media_types: what the answer comes as; JSON when none is named.
        empty: the answer has no body.
        also: another status of such an answer, beside 200.
    """
    answered = () if empty else media_types or (JSON,)

    def decorate(view: F) -> F:
        if example is not None:
            document_sent(JSON, {"type": "object"}, example)(view)
        for status in filter(None, (200, also)):
            document_media_types(status, *answered)(view)
        return _marked(view, relayed=True, asks_backend=True)

    return decorate


def document_sent(media_type: str, schema: Mapping[str, Any], example: Any = None) -> Callable[[F], F]:
    """Document the body that the route takes, where no model of ours reads it."""

    def decorate(view: F) -> F:
        return _marked(view, sent=(media_type, schema, example))

    return decorate


def _marked(view: F, **told: Any) -> F:
    setattr(view, _MARKS, replace(marks_of(view), **told))
    return view
